package toolbox

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/peterh/liner"
	"golang.org/x/term"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// statusUsage is the exit status for an invalid command line or script, as in other shells.
const statusUsage = 2

// shell is the command sh: [--init FILE] [-c COMMANDS | SCRIPT [ARG...]]. It runs the commands of
// the init file first.
func shell(args []string) int {
	fl := flag.NewFlagSet(Shell, flag.ContinueOnError)
	first := fl.String("init", "", "commands to run first")
	commands := fl.String("c", "", "commands to run")
	if err := fl.Parse(args); err != nil {
		return statusUsage
	}
	terminal := *commands == "" && fl.NArg() == 0 && term.IsTerminal(int(os.Stdin.Fd()))
	s, err := newSession(fl.Args(), terminal)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", Shell, err)
		return statusUsage
	}
	if *first != "" {
		if status, exit := s.file(*first); exit {
			return status
		}
		s.status = 0
	}
	if terminal {
		return s.dialogue()
	}
	status := 0
	switch {
	case *commands != "":
		status, _ = s.script(strings.NewReader(*commands), "")
	case fl.NArg() > 0:
		status, _ = s.file(fl.Arg(0))
	default:
		status, _ = s.script(os.Stdin, "")
	}
	return status
}

// session is one run of the shell.
type session struct {
	runner *interp.Runner
	parser *syntax.Parser
	status int // of the last command
}

func newSession(args []string, interactive bool) (*session, error) {
	opts := []interp.RunnerOption{
		interp.StdIO(os.Stdin, os.Stdout, os.Stderr),
		interp.Interactive(interactive),
		interp.ExecHandlers(outlive),
	}
	if len(args) > 1 {
		opts = append(opts, interp.Params(append([]string{"--"}, args[1:]...)...))
	}
	runner, err := interp.New(opts...)
	if err != nil {
		return nil, err
	}
	return &session{runner: runner, parser: syntax.NewParser()}, nil
}

// outlive leaves the handling of an interrupt to the running program, which gets it from the
// terminal. The shell then skips the rest of the line.
func outlive(next interp.ExecHandlerFunc) interp.ExecHandlerFunc {
	return func(ctx context.Context, args []string) error {
		err := next(context.WithoutCancel(ctx), args)
		if ctx.Err() != nil {
			return interp.ExitStatus(interrupted)
		}
		return err
	}
}

func (s *session) file(name string) (status int, exit bool) {
	f, err := os.Open(name)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", Shell, err)
		return 127, false
	}
	defer f.Close()
	return s.script(f, filepath.Base(name))
}

// script runs each command as soon as it is read, so that the next one can be typed or sent when it
// has ended. It returns the status of the last command, and whether that was an exit.
func (s *session) script(r io.Reader, name string) (status int, exit bool) {
	for stmt, err := range s.parser.StmtsSeq(r) {
		if err != nil {
			s.wrong(name, err)
			break
		}
		if exit := s.run(stmt); exit || s.status == interrupted {
			return s.status, exit
		}
	}
	return s.status, false
}

func (s *session) wrong(name string, err error) {
	if name != "" {
		name += ": "
	}
	fmt.Fprintf(os.Stderr, "%s: %s%v\n", Shell, name, err)
	s.status = statusUsage
}

// interrupted is the status of a command that was interrupted: 128 and SIGINT.
const interrupted = 130

// run runs one command line, and reports whether the shell must exit. An interrupt ends the
// command, not the shell.
func (s *session) run(stmt *syntax.Stmt) (exit bool) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := s.runner.Run(ctx, stmt)
	var status interp.ExitStatus
	switch {
	case ctx.Err() != nil:
		s.status = interrupted
		return false
	case err == nil:
		s.status = 0
	case errors.As(err, &status):
		s.status = int(status)
	default:
		fmt.Fprintf(os.Stderr, "%s: %v\n", Shell, err)
		s.status = 1
	}
	return s.runner.Exited()
}

// dialogue reads commands from a terminal until its end or an exit.
func (s *session) dialogue() int {
	// The running command handles them. Ignoring them instead would be inherited.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGQUIT)
	cooked, err := liner.TerminalMode()
	if err != nil {
		return s.noTerminal(err)
	}
	line := liner.NewLiner()
	defer line.Close()
	raw, err := liner.TerminalMode()
	if err != nil {
		return s.noTerminal(err)
	}
	line.SetCtrlCAborts(true)
	line.SetTabCompletionStyle(liner.TabPrints)
	line.SetWordCompleter(s.complete)

	pending := "" // lines of an incomplete command
	for {
		prompt := s.prompt()
		if pending != "" {
			prompt = "> "
		}
		text, err := line.Prompt(prompt)
		switch {
		case errors.Is(err, liner.ErrPromptAborted):
			pending = ""
			continue
		case err != nil: // end of input, or the terminal is gone
			fmt.Println()
			return s.status
		}
		if strings.TrimSpace(text) != "" {
			line.AppendHistory(text)
		}
		pending += text + "\n"
		var stmts []*syntax.Stmt
		err = nil
		for stmt, e := range s.parser.StmtsSeq(strings.NewReader(pending)) {
			if e != nil {
				err = e
				break
			}
			stmts = append(stmts, stmt)
		}
		if syntax.IsIncomplete(err) {
			continue
		}
		pending = ""
		if err != nil {
			s.wrong("", err)
			continue
		}
		_ = cooked.ApplyMode()
		for _, stmt := range stmts {
			if s.run(stmt) {
				return s.status
			}
			if s.status == interrupted {
				fmt.Println()
				break
			}
		}
		_ = raw.ApplyMode()
	}
}

func (s *session) noTerminal(err error) int {
	fmt.Fprintf(os.Stderr, "%s: terminal: %v\n", Shell, err)
	return statusUsage
}

// prompt returns $PS1 and the working directory.
func (s *session) prompt() string {
	return os.Getenv("PS1") + s.runner.Dir + " # "
}

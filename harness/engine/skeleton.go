package engine

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// skeleton is the content of a light skeleton, the C header that `bpftool gen skeleton -L` prints.
type skeleton struct {
	// maps and programs are the members of the structs with these names: an identifier for each
	// descriptor of the context, in order.
	maps, programs []string
	values         map[string]initialValue // by name in maps
	blob, insns    []byte
}

// initialValue is the initial value of a data section, from the skeleton's open function.
type initialValue struct {
	data []byte
	size int // size of the section in memory, in bytes; data is its beginning
}

var errSkeleton = errors.New("not a light skeleton")

// parseSkeleton parses a light skeleton from any version of bpftool that can write them (since
// 5.14). It understands only as much C as these headers need: it ignores line breaks, and skips
// what it does not know.
func parseSkeleton(header []byte) (*skeleton, error) {
	tokens, err := lex(string(header))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSkeleton, err)
	}
	p := &skeletonParser{tokens: tokens, strings: make(map[string][]byte), sizes: make(map[string]int)}
	p.s.values = make(map[string]initialValue)
	for p.at < len(p.tokens) {
		line := p.tokens[p.at].line
		if err := p.next(); err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", errSkeleton, line, err)
		}
	}
	return p.finish()
}

type skeletonParser struct {
	tokens  []token
	at      int
	s       skeleton
	strings map[string][]byte // contents of the last static array with a name
	sizes   map[string]int    // opts.data_sz and opts.insns_sz, if they are numbers
}

// next parses the construct that begins at the next token, or skips the token.
func (p *skeletonParser) next() error {
	switch {
	case p.is("struct", "bpf_map_desc", ident, ";"):
		p.s.maps = append(p.s.maps, p.text(2))
	case p.is("struct", "bpf_prog_desc", ident, ";"):
		p.s.programs = append(p.s.programs, p.text(2))
	case p.is("char", ident, "[", "]"):
		return p.array()
	case p.is("opts", ".", ident, "="):
		return p.option()
	case p.is("skel", "->", ident, "=", "skel_prep_map_data", "("):
		return p.value()
	}
	p.at++
	return nil
}

// is reports whether these are the next tokens. ident stands for any identifier.
func (p *skeletonParser) is(want ...string) bool {
	if len(p.tokens)-p.at < len(want) {
		return false
	}
	for i, w := range want {
		t := &p.tokens[p.at+i]
		if w == ident && t.kind != tokenIdent || w != ident && (t.kind == tokenString || t.text != w) {
			return false
		}
	}
	return true
}

// ident equals no token.
const ident = "an identifier"

// text returns the text of the i-th next token, or "" after the last one.
func (p *skeletonParser) text(i int) string {
	if p.at+i >= len(p.tokens) {
		return ""
	}
	return p.tokens[p.at+i].text
}

// array parses `char NAME[] ... = "...";`.
func (p *skeletonParser) array() error {
	name := p.text(1)
	for ; p.at < len(p.tokens) && p.text(0) != ";"; p.at++ {
		if p.tokens[p.at].kind == tokenString {
			p.strings[name] = p.tokens[p.at].value
		}
	}
	return nil
}

// option parses `opts.NAME = VALUE;`.
func (p *skeletonParser) option() error {
	name := p.text(2)
	p.at += 4
	switch name {
	case "data", "insns":
		b, err := p.bytes()
		if err != nil {
			return fmt.Errorf("opts.%s: %w", name, err)
		}
		if name == "data" {
			p.s.blob = b
		} else {
			p.s.insns = b
		}
	case "data_sz", "insns_sz":
		if n, err := strconv.Atoi(p.text(0)); err == nil {
			p.sizes[name] = n
		}
	}
	return nil
}

// value parses `skel->NAME = skel_prep_map_data(BYTES, SIZE, ...);`.
func (p *skeletonParser) value() error {
	name := p.text(2)
	p.at += 6
	data, err := p.bytes()
	if err != nil {
		return fmt.Errorf("initial value of %s: %w", name, err)
	}
	if !p.is(",") {
		return fmt.Errorf("initial value of %s: its size is missing", name)
	}
	p.at++
	size, err := strconv.Atoi(p.text(0))
	if err != nil || size < len(data) || size > maxValue {
		return fmt.Errorf("initial value of %s: %d bytes in memory of size %d", name, len(data), size)
	}
	p.s.values[name] = initialValue{data: data, size: size}
	return nil
}

// maxValue limits the memory that a header can make us allocate, in bytes.
const maxValue = 1 << 30

// bytes parses `(void *)"..."` or `(void *)NAME`.
func (p *skeletonParser) bytes() ([]byte, error) {
	if p.is("(", "void", "*", ")") {
		p.at += 4
	}
	if p.at == len(p.tokens) {
		return nil, errors.New("the header ends here")
	}
	t := p.tokens[p.at]
	p.at++
	if t.kind == tokenString {
		return t.value, nil
	}
	b, ok := p.strings[t.text]
	if !ok {
		return nil, fmt.Errorf("%q is not known", t.text)
	}
	return b, nil
}

func (p *skeletonParser) finish() (*skeleton, error) {
	s := &p.s
	switch {
	case len(s.insns) == 0 || len(s.insns)%8 != 0:
		return nil, fmt.Errorf("%w: %d bytes of instructions", errSkeleton, len(s.insns))
	case len(s.blob) == 0:
		return nil, fmt.Errorf("%w: no data", errSkeleton)
	}
	for name, b := range map[string][]byte{"data_sz": s.blob, "insns_sz": s.insns} {
		if want, ok := p.sizes[name]; ok && want != len(b) {
			return nil, fmt.Errorf("%w: opts.%s is %d, but there are %d bytes", errSkeleton, name, want, len(b))
		}
	}
	for name := range s.values {
		if !slices.Contains(s.maps, name) {
			return nil, fmt.Errorf("%w: an initial value for %s, which is no map", errSkeleton, name)
		}
	}
	return s, nil
}

type tokenKind int

const (
	tokenOther tokenKind = iota // a number or punctuation
	tokenIdent
	tokenString
)

type token struct {
	kind  tokenKind
	text  string // empty for strings
	value []byte // contents of a string
	line  int
}

// lex splits C source into tokens. It drops comments and directives, and joins adjacent strings.
func lex(src string) ([]token, error) {
	l := &lexer{src: src, line: 1}
	for l.pos < len(l.src) {
		if err := l.token(); err != nil {
			return nil, fmt.Errorf("line %d: %w", l.line, err)
		}
	}
	return l.tokens, nil
}

type lexer struct {
	src    string
	pos    int
	line   int
	tokens []token
}

func (l *lexer) token() error {
	rest := l.src[l.pos:]
	switch c := rest[0]; {
	case c == '\n':
		l.line++
		l.pos++
	case strings.IndexByte(" \t\r\f\v", c) >= 0:
		l.pos++
	case strings.HasPrefix(rest, "\\\n"):
		l.line++
		l.pos += 2
	case c == '#':
		l.skip(strings.IndexByte(rest, '\n'), 0)
	case strings.HasPrefix(rest, "//"):
		l.skip(strings.IndexByte(rest, '\n'), 0)
	case strings.HasPrefix(rest, "/*"):
		l.skip(strings.Index(rest, "*/"), 2)
	case c == '"':
		return l.str()
	case strings.HasPrefix(rest, "->"):
		l.add(tokenOther, 2)
	case isWord(c):
		n := 1
		for n < len(rest) && isWord(rest[n]) {
			n++
		}
		kind := tokenIdent
		if c >= '0' && c <= '9' {
			kind = tokenOther
		}
		l.add(kind, n)
	default:
		l.add(tokenOther, 1)
	}
	return nil
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// skip skips end bytes and extra bytes more. If end is negative, it skips the rest of the source.
func (l *lexer) skip(end, extra int) {
	if end < 0 {
		end, extra = len(l.src)-l.pos, 0
	}
	l.line += strings.Count(l.src[l.pos:l.pos+end], "\n")
	l.pos += end + extra
}

func (l *lexer) add(kind tokenKind, n int) {
	l.tokens = append(l.tokens, token{kind: kind, text: l.src[l.pos : l.pos+n], line: l.line})
	l.pos += n
}

func (l *lexer) str() error {
	t := token{kind: tokenString, line: l.line}
	for l.pos++; ; {
		if l.pos >= len(l.src) {
			return errors.New("a string has no end")
		}
		c := l.src[l.pos]
		l.pos++
		switch c {
		case '"':
			if n := len(l.tokens); n > 0 && l.tokens[n-1].kind == tokenString {
				l.tokens[n-1].value = append(l.tokens[n-1].value, t.value...)
				return nil
			}
			l.tokens = append(l.tokens, t)
			return nil
		case '\n':
			return errors.New("a string does not end on its line")
		case '\\':
			if err := l.escape(&t); err != nil {
				return err
			}
		default:
			t.value = append(t.value, c)
		}
	}
}

var escapes = map[byte]byte{
	'n': '\n', 't': '\t', 'r': '\r', 'a': 7, 'b': 8, 'f': 12, 'v': 11, '\\': '\\', '"': '"', '\'': '\'', '?': '?',
}

func (l *lexer) escape(t *token) error {
	if l.pos >= len(l.src) {
		return errors.New("a string has no end")
	}
	c := l.src[l.pos]
	l.pos++
	switch {
	case c == '\n':
		l.line++
		return nil
	case c == 'x':
		return l.number(t, 16, len(l.src))
	case c >= '0' && c <= '7':
		l.pos--
		return l.number(t, 8, 3)
	}
	v, ok := escapes[c]
	if !ok {
		return fmt.Errorf("escape \\%c in a string", c)
	}
	t.value = append(t.value, v)
	return nil
}

// number parses the digits of an escape, at most limit of them.
func (l *lexer) number(t *token, base, limit int) error {
	value, n := 0, 0
	for ; n < limit && l.pos < len(l.src); n++ {
		d, err := strconv.ParseUint(l.src[l.pos:l.pos+1], base, 8)
		if err != nil {
			break
		}
		l.pos++
		if value = value*base + int(d); value > 0xff {
			return errors.New("escape of more than a byte in a string")
		}
	}
	if n == 0 {
		return errors.New("escape without digits in a string")
	}
	t.value = append(t.value, byte(value))
	return nil
}

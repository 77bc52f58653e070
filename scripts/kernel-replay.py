#!/usr/bin/env python3
"""Measures how many of the kernel's BPF selftests that libbpf loads our loader program replays.

  scripts/kernel-replay.py [-k KERNEL] [--all] [--baseline] [--programs|--states] [OBJECT...]
  scripts/kernel-replay.py [-k KERNEL] --times N [--icount] [--profile] [OBJECT...]

scripts/kernel-selftests.sh has to be run first: it builds the objects. Each
object is loaded in guests that run KERNEL: by libbpf, directly and through its
own loader program (scripts/libbpf-baseline.c), then with our engines trace and
replay (`bpfreplay vmtest`). What libbpf did is kept, as it does not change:
--baseline measures it anew. Our engines get the objects that libbpf loads
directly, or with --all every object; with names as arguments, only these.

With --programs each program of an object is loaded alone, all others not, by
scripts/load-each in place of `bpfreplay vmtest`, so states are not compared.
With --states the kernel's state after a load by libbpf is compared with the
one after replay, in place of the one after trace.

With --times N nothing is compared but times, in one guest, by
scripts/load-times, which says what is timed: the objects that libbpf loads
both ways, unless that took it 0.4 s, where the verifier is all there is to see;
each N times in each way, in turn; the shortest counts. A busy machine makes times longer, though it hits all ways alike. With --icount QEMU
counts instructions, and a nanosecond of the guest is one of them: that does
not depend on the machine, and one or two rounds will do. With --profile the
kernel's function tracer tells where it spends its time, and N is of no use.
docs/load-times.md is what came of it.

Results are in selftests/kernel/results/KERNEL: libbpf.tsv, ours.tsv,
failures.txt (each object that libbpf loads and we do not, by cause) and
summary.txt, which is printed. With --programs they are called
libbpf-programs.tsv and so on; likewise with --states. With --times they are
times.tsv and times.txt, icount.tsv and icount.txt, profile.tsv and profile.txt. Status 1 if something that
libbpf loads is not replayed.
"""

import argparse
import collections
import csv
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CORPUS = ROOT / "selftests" / "kernel"
OBJECTS = CORPUS / "obj"
CHUNK = 100  # objects a guest
SLOW = 400_000_000  # ns; what takes libbpf longer is not timed
BOOT_LIMIT = 3600  # seconds for one guest that runs libbpf


def die(message):
    sys.exit(f"kernel-replay.py: {message}")


def say(message):
    print(f"kernel-replay.py: {message}", file=sys.stderr, flush=True)


def find_kernel(bpfreplay, name):
    """The files of a kernel in bpfreplay's cache, which are fetched if need be."""
    out = subprocess.run([bpfreplay, "kernels", "fetch", name], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    release = out.stdout.split("\t")[1].strip()
    cache = os.environ.get("BPFREPLAY_CACHE") or pathlib.Path(
        os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache", "bpfreplay")
    for meta in pathlib.Path(cache, "kernels").glob("*/kernel.json"):
        if json.loads(meta.read_text())["release"] == release:
            return release, meta.parent
    die(f"kernel {release} is not in {cache}")


# libbpf


def initramfs(path, kernel, release, objects, program=None, names=()):
    """An archive with the baseline program as /init, and the objects; perhaps another program and its list."""
    tree = path.with_suffix(".tree")
    subprocess.run(["rm", "-rf", tree], check=True)
    for d in ("dev", "objects", "boot"):
        (tree / d).mkdir(parents=True)
    os.link(CORPUS / "libbpf-baseline", tree / "init")
    if (kernel / "config").exists():
        (tree / "boot" / f"config-{release}").write_bytes((kernel / "config").read_bytes())
    for o in objects:
        os.link(o, tree / "objects" / o.name)
    if program:
        os.link(CORPUS / program, tree / program)
        (tree / "list").write_text("".join(n + "\n" for n in names))
    # /dev/console, so that what the program complains of is seen.
    subprocess.run(["mknod", tree / "dev" / "console", "c", "5", "1"], check=True)
    with open(path, "wb") as f:
        find = subprocess.run(["find", ".", "-print0"], cwd=tree, check=True, stdout=subprocess.PIPE).stdout
        subprocess.run(["cpio", "-0", "-o", "-H", "newc", "--quiet"], cwd=tree, check=True, input=find, stdout=f)
    subprocess.run(["rm", "-rf", tree], check=True)


def boot(kernel, initrd, results, console, args, clock=("-accel", "tcg,thread=multi")):
    image = kernel / "vmlinux"
    if not image.exists():
        image = kernel / "vmlinuz"
    command = [
        "qemu-system-x86_64", "-machine", "q35", *clock, "-cpu", "max", "-m", "2048", "-smp", "1",
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-kernel", image, "-initrd", initrd,
        "-serial", f"file:{console}", "-serial", f"file:{results}",
        "-append", "console=ttyS0 panic=-1 quiet mitigations=off lsm=bpf no_timer_check -- " + " ".join(args)]
    try:
        subprocess.run(command, timeout=BOOT_LIMIT, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        say("the guest did not end")


def read_lines(path):
    """The lines that a program wrote, and whether it came to its end. The first line names the fields."""
    if not path.exists():
        return [], False
    lines = path.read_text(errors="replace").splitlines()
    ended = "# end" in lines
    return [l.split("\t") for l in lines if l.count("\t") == lines[0].count("\t")], ended


def baseline(kernel, release, objects, out, suffix, args=()):
    """Runs libbpf on all objects: a guest that breaks costs the object at which it broke."""
    initrd = out / "libbpf.cpio"
    initramfs(initrd, kernel, release, objects)
    names = sorted(o.name.removesuffix(".bpf.o") for o in objects)
    table, header, part = [], None, out / "libbpf.part"
    after = []
    while True:
        part.unlink(missing_ok=True)
        boot(kernel, initrd, part, out / "libbpf-console.log", [*args, *after, "/objects"])
        lines, ended = read_lines(part)
        if len(lines) < 2 and not ended and not table:
            die(f"the guest with libbpf said nothing; see {out}/libbpf-console.log")
        header, rows = lines[0], lines[1:]
        table += rows
        if ended:
            break
        last = rows[-1][0].split("/")[0] if rows else (after[1] if after else None)
        wedged = rows and "wedged" in rows[-1]
        if not wedged:  # it broke at the object after the last one
            i = names.index(last) + 1 if last else 0
            last = names[i]
            table.append([last, "broken"] + [""] * (len(header) - 2))
        say(f"libbpf broke the guest at {last}")
        if last == names[-1]:
            break
        after = ["-a", last]
    part.unlink(missing_ok=True)
    initrd.unlink()
    with open(out / f"libbpf{suffix}.tsv", "w") as f:
        for row in [header] + table:
            f.write("\t".join(row) + "\n")


Libbpf = collections.namedtuple(
    "Libbpf", "name direct direct_errno open_ns direct_ns maps progs gen gen_errno gen_ns insns blob "
    "light light_errno light_ns run_ns light_maps light_progs direct_detail light_detail")


def read_baseline(out, suffix):
    with open(out / f"libbpf{suffix}.tsv") as f:
        rows = list(csv.reader(f, delimiter="\t", quoting=csv.QUOTE_NONE))
    return {r[0]: Libbpf(*r) for r in rows[1:]}


# ours

Ours = collections.namedtuple("Ours", "name engine result errno generate_ns ns insns blob maps progs leaks verdict detail log",
                              defaults=[""] * 10)


def run_ours(bpfreplay, kernel, objects, out, suffix, engines):
    results = []
    chunks = [objects[i:i + CHUNK] for i in range(0, len(objects), CHUNK)]
    for n, chunk in enumerate(chunks):
        say(f"our engines, part {n + 1} of {len(chunks)}")
        where = out / f"ours{suffix}"
        report = where / kernel / "report.json"
        report.unlink(missing_ok=True)
        with open(out / f"ours{suffix}.log", "w" if n == 0 else "a") as log:
            subprocess.run([bpfreplay, "vmtest", "-k", kernel, *engines, "--case-timeout", "300s", "-o", where, *chunk],
                           cwd=ROOT, stdout=log, stderr=log)
        if not report.exists():
            for o in chunk:
                results.append(Ours(o.name.removesuffix(".bpf.o"), "replay", "broken", "",
                                    detail=f"no report of this part; see {out}/ours{suffix}.log"))
            continue
        for case in json.loads(report.read_text())["cases"]:
            verdict = case["verdicts"][0]["verdict"] if case["verdicts"] else ""
            if verdict == "different":
                d = case["verdicts"][0]["differences"]
                verdict += ": " + "; ".join(f'{x["field"]}: {x["a"]} / {x["b"]}' for x in d if not x.get("explained_by"))[:300]
            for l in case["loads"]:
                results.append(Ours(case["name"], l["engine"], l["result"], l["errno"], ns=l["nanoseconds"],
                                    leaks="; ".join(l.get("leaks") or []), verdict=verdict, detail=l["detail"],
                                    log=last_line(l.get("log") or "")))
    return results


def build(program):
    subprocess.run(["go", "build", "-o", CORPUS / program, f"./scripts/{program}"], cwd=ROOT, check=True,
                   env={**os.environ, "CGO_ENABLED": "0"})


def run_each(kernel, release, objects, out, names):
    """Runs load-each on programs of objects: a guest that breaks costs the one at which it broke."""
    build("load-each")
    initrd, part = out / "each.cpio", out / "each.part"
    results = []
    while names:
        initramfs(initrd, kernel, release, objects, "load-each", names)
        part.unlink(missing_ok=True)
        boot(kernel, initrd, part, out / "each-console.log",
             ["-x", "/load-each", "-limit", "5m", "/objects"])
        lines, ended = read_lines(part)
        rows = [Ours(*r[:10], detail=r[10], log=r[11]) for r in lines[1:]]
        results += rows
        if ended:
            break
        done = {r.name for r in rows if r.engine == "replay" or r.result == "timeout"}
        rest = [n for n in names if n not in done]
        if rest and rows and rows[-1].result != "timeout":  # it broke at the next one
            results.append(Ours(rest[0], "replay", "broken", "", detail=f"the guest broke; see {out}/each-console.log"))
            rest = rest[1:]
        elif not rows:
            die(f"load-each said nothing; see {out}/each-console.log")
        say(f"our loads broke a guest; {len(rest)} are left")
        names = rest
    part.unlink(missing_ok=True)
    initrd.unlink(missing_ok=True)
    return results


# times

Time = collections.namedtuple("Time", "name way result open load verify run warm_open warm_load warm_verify warm_run "
                              "insns blob programs detail")
WAYS = ("cilium", "trace", "load", "replay", "replay-c", "libbpf", "libbpf-light")


def run_times(kernel, release, objects, out, names, what, args, icount):
    """Runs load-times: a guest that breaks costs the object at which it broke."""
    build("load-times")
    clock = ("-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off") if icount else ("-accel", "tcg,thread=multi")
    initrd, part, table = out / f"{what}.cpio", out / f"{what}.part", out / f"{what}.tsv"
    rows = []
    while names:
        initramfs(initrd, kernel, release, objects, "load-times", names)
        part.unlink(missing_ok=True)
        boot(kernel, initrd, part, out / f"{what}-console.log",
             ["-x", "/load-times", *args, "/objects"], clock)
        lines, ended = read_lines(part)
        header = lines[0] if lines else []
        rows += lines[1:]
        if ended:
            break
        done = {r[0] for r in rows if r[1] == "replay-c"}
        rest = [n for n in names if n not in done][1:]
        say(f"the guest broke; {len(rest)} objects are left; see {out}/{what}-console.log")
        if len(rest) == len(names) - 1:
            die("at the first object")
        names = rest
    part.unlink(missing_ok=True)
    initrd.unlink(missing_ok=True)
    with open(table, "w") as f:
        for row in [header] + rows:
            f.write("\t".join(row) + "\n")
    return rows


def sums(by, names, way, fields):
    return [sum(int(getattr(by[n][way], f)) for f in fields) for n in names]


def times_summary(kernel, release, rows, rounds, icount):
    by = collections.defaultdict(dict)
    for r in rows:
        by[r.name][r.way] = r
    common = sorted(n for n in by if all(w in by[n] and by[n][w].result == "ok" for w in WAYS))
    some = [n for n in common if int(by[n]["replay"].programs)]
    clock = "instructions that the guest executed" if icount else "time"
    lines = [f"kernel {kernel} ({release}): {len(by)} objects, {len(common)} are loaded in all ways, {len(some)} of them have programs",
             f"ratios of {clock}, best of {rounds}: median, 10th to 90th percentile, ratio of medians", ""]

    def line(what, names, a, b):
        a, b = sums(by, names, *a), sums(by, names, *b)
        r = sorted(x / y for x, y in zip(a, b))
        lines.append(f"  {what:42} {statistics.median(r):5.2f} {r[len(r) // 10]:6.2f} to {r[len(r) * 9 // 10]:.2f}"
                     f" {statistics.median(a) / statistics.median(b):6.2f}")

    fresh, warm = ("load",), ("warm_load",)
    for title, names in (("all of them", common), ("those with programs", some)):
        if not names or title != "all of them" and names == common:
            continue
        lines.append(title)
        for label, f, of in (("fresh", fresh, ("open",)), ("warm", warm, ("warm_open",))):
            for a in ("replay", "replay-c", "load"):
                line(f"{label}: {a} / cilium load", names, (a, f), ("cilium", f))
            line(f"{label}: replay / cilium open and load", names, ("replay", f), ("cilium", f + of))
            line(f"{label}: libbpf-light / cilium load", names, ("libbpf-light", f), ("cilium", f))
            line(f"{label}: replay / trace load", names, ("replay", f), ("trace", f))
            for a in ("replay", "replay-c", "load", "libbpf-light"):
                line(f"{label}: {a} / libbpf load", names, (a, f), ("libbpf", f))
            line(f"{label}: replay-c / libbpf open and load", names, ("replay-c", f), ("libbpf", f + of))
            line(f"{label}: replay-c / libbpf-light", names, ("replay-c", f), ("libbpf-light", f))
            line(f"{label}: replay / libbpf-light", names, ("replay", f), ("libbpf-light", f))
        for way in WAYS:
            rs = [by[n][way] for n in names]
            median = {f: statistics.median(int(getattr(r, f)) for r in rs) / 1e6
                      for f in ("open", "load", "verify", "run", "warm_open", "warm_load", "warm_verify", "warm_run")}
            lines.append(f"  {way:13} ms: " + ", ".join(f"{f} {v:.2f}" for f, v in median.items() if v))
        lines.append("")
    for way in WAYS:
        failed = [n for n in by if way not in by[n] or by[n][way].result != "ok"]
        if failed:
            lines.append(f"not loaded by {way}: {len(failed)}: {' '.join(failed[:12])}{' …' if len(failed) > 12 else ''}")
    return lines


def profile_summary(kernel, release, rows):
    """What the median object's load takes in each function, and what all loads take together."""
    by = collections.defaultdict(lambda: collections.defaultdict(dict))
    for name, way, function, ns in rows:
        by[way][name][function] = int(ns) / 2e6  # each process loads twice
    common = set.intersection(*[{n for n, f in by[w].items() if "load" in f} for w in WAYS])
    lines = [f"kernel {kernel} ({release}): {len(common)} objects that are loaded in all ways",
             "ms for one load, half of a fresh and a warm one: median, sum"]
    for way in WAYS:
        lines.append(way)
        columns = {f for n in common for f in by[way][n]}
        for f in sorted(columns, key=lambda f: -sum(by[way][n].get(f, 0) for n in common)):
            values = [by[way][n].get(f, 0) for n in common]
            if sum(values) / len(values) > 0.005:
                lines.append(f"  {f:32} {statistics.median(values):9.3f} {sum(values):10.1f}")
    return lines


def last_line(log):
    lines = [l.strip() for l in log.splitlines() if l.strip()]
    while lines and re.match(r"(processed \d+ insns|verification time|stack depth|insns processed|max_states)", lines[-1]):
        lines.pop()
    return lines[-1] if lines else ""


def one_line(text):
    return " ".join(text.split())


def write_ours(path, results):
    old = []
    if path.exists():
        with open(path) as f:
            old = [Ours(*r) for r in list(csv.reader(f, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]]
    new = {r.name for r in results}
    rows = sorted([r for r in old if r.name not in new] + results)
    with open(path, "w") as f:
        f.write("\t".join(Ours._fields) + "\n")
        for r in rows:
            f.write("\t".join(one_line(str(v)) for v in r) + "\n")
    return rows


# summary


def cause(r):
    """An error without the names and numbers that differ between objects that fail alike."""
    text = r.detail
    text = re.sub(r'"[^"]*"|\'[^\']*\'|`[^`]*`', "…", text)
    text = re.sub(r"\b(step \d+|(program|map|section|extern|function|symbol|variable|kfunc|type|insn|instruction) [^\s:,]+)",
                  lambda m: m.group(0).split()[0] + " …", text)
    text = re.sub(r"\b(0x[0-9a-f]+|\d+)\b", "N", text)
    text = re.sub(r"^\S+\.bpf\.o", "…", text)
    return f"{r.result} {r.errno}: {text}"


def write_failures(path, kernel, release, base, ours, wanted):
    groups = collections.defaultdict(list)
    for r in ours:
        b = base.get(r.name)
        if b and b.direct == "ok" and r.result != "ok" and r.name in wanted:
            groups[(cause(r))].append(r)
    with open(path, "w") as f:
        f.write(f"What libbpf loads directly on {kernel} ({release}) and an engine does not, by cause.\n")
        for key, rs in sorted(groups.items(), key=lambda g: (-len({r.name for r in g[1]}), g[0])):
            f.write(f"\n== {len({r.name for r in rs})}: {key}\n")
            for r in rs:
                also = base[r.name].light
                f.write(f"{r.name} [{r.engine}] {r.errno} {r.detail}" + (f" | {r.log}" if r.log else "") +
                        f"  (libbpf's loader program: {also})\n")
        others = sorted({(r.name, r.verdict) for r in ours if r.name in wanted and r.verdict.startswith("different")
                         and all(x.result == "ok" for x in ours if x.name == r.name)})
        if others:
            f.write(f"\n== {len(others)} objects: loaded by both engines, but the states differ\n")
            for name, verdict in others:
                f.write(f"{name} {verdict}\n")
        counts = sorted((r.name, r.engine, f"maps {r.maps} programs {r.progs}, libbpf has {base[r.name].maps} and {base[r.name].progs}")
                        for r in ours if r.name in wanted and r.result == "ok" and r.maps
                        and (r.maps, r.progs) != (base[r.name].maps, base[r.name].progs))
        if counts:
            f.write(f"\n== {len(counts)} loads: not as many maps and programs as libbpf has\n")
            for c in counts:
                f.write(" ".join(c) + "\n")
        leaks = sorted({(r.name, r.engine, r.leaks) for r in ours if r.leaks})
        if leaks:
            f.write(f"\n== {len(leaks)} loads: something was not given back\n")
            for leak in leaks:
                f.write(" ".join(leak) + "\n")


def percent(n, of):
    return f"{n} ({100 * n / of:.1f} %)" if of else str(n)


def median(values):
    values = list(values)
    return f"{statistics.median(values):.2f}" if values else "-"


def summary(kernel, release, base, ours, wanted):
    direct = {n for n, b in base.items() if b.direct == "ok" and n in wanted}
    with_programs = {n for n in direct if int(base[n].progs or 0) > 0}
    ok = collections.defaultdict(set)
    ns = collections.defaultdict(dict)
    for r in ours:
        if r.result == "ok":
            ok[r.engine].add(r.name)
            ns[r.engine][r.name] = int(r.ns)
    light = {n for n, b in base.items() if b.light == "ok"}
    what = "programs, each alone" if any("/" in n for n in base) else "objects"
    lines = [f"kernel {kernel} ({release}): {len(wanted)} {what}: libbpf loads {len(direct)} directly, "
             f"{len(with_programs)} of them have programs"]
    for what, have in [("libbpf's loader program", light)] + [(f"engine {e}", ok[e]) for e in sorted(ok)]:
        lines.append(f"  {what}: {percent(len(have & direct), len(direct))} of these, "
                     f"{percent(len(have & with_programs), len(with_programs))} of those with programs")
    both = [n for n in with_programs & ok["replay"] & light if int(base[n].direct_ns)]
    lines.append(f"  median times over {len(both)} with programs, in different processes and guests: "
                 f"replay/libbpf direct {median(ns['replay'][n] / int(base[n].direct_ns) for n in both)}, "
                 f"replay/libbpf's loader program {median(ns['replay'][n] / int(base[n].light_ns) for n in both)}, "
                 f"libbpf's loader program/direct {median(int(base[n].light_ns) / int(base[n].direct_ns) for n in both)}")
    sized = {r.name: r for r in ours if r.engine == "replay" and r.result == "ok" and r.insns}
    both = [n for n in both if n in sized]
    if both:
        lines.append(
            f"  median over {len(both)} of them: instructions+blob against libbpf's "
            f"{median((int(sized[n].insns) + int(sized[n].blob)) / (int(base[n].insns) + int(base[n].blob)) for n in both)} "
            f"(ours {statistics.median(int(sized[n].insns) + int(sized[n].blob) for n in both):.0f} bytes, "
            f"libbpf's {statistics.median(int(base[n].insns) + int(base[n].blob) for n in both):.0f}), "
            f"instructions {median(int(sized[n].insns) / int(base[n].insns) for n in both)}, "
            f"generate {median(int(sized[n].generate_ns) / int(base[n].gen_ns) for n in both)}")
    verdicts = collections.Counter({r.name: r.verdict.split(":")[0] for r in ours if r.verdict and r.name in direct}.values())
    if verdicts:
        lines.append("  verdicts: " + ", ".join(f"{n} {v}" for v, n in verdicts.most_common()))
    missed = direct - ok["replay"]
    lines.append(f"  not replayed: {len(missed)}; loaded by replay though libbpf refuses: {len(ok['replay'] - direct)}")
    return lines, missed


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("-k", "--kernel", default="6.12", help="a name in kernels.yaml")
    p.add_argument("--all", action="store_true", help="also objects that libbpf does not load")
    p.add_argument("--baseline", action="store_true", help="measure libbpf anew")
    p.add_argument("--only-baseline", action="store_true", help="measure libbpf and nothing else")
    p.add_argument("--profile", action="store_true", help="with --times: see where the kernel spends it")
    p.add_argument("--programs", action="store_true", help="each program alone")
    p.add_argument("--times", type=int, default=0, metavar="N", help="measure times, N of each")
    p.add_argument("--icount", action="store_true", help="with --times: count instructions")
    p.add_argument("--states", action="store_true", help="compare the states after libbpf's direct load and after replay")
    p.add_argument("objects", nargs="*", help="names of objects, such as test_ringbuf")
    a = p.parse_args()
    objects = sorted(OBJECTS.glob("*.bpf.o"))
    if not objects or not (CORPUS / "libbpf-baseline").exists():
        die("no objects; run scripts/kernel-selftests.sh first")
    names = {o.name.removesuffix(".bpf.o") for o in objects}
    unknown = set(a.objects) - names
    if unknown:
        die("no objects " + " ".join(sorted(unknown)))
    chosen = set(a.objects) or names
    suffix = "-programs" if a.programs else "-states" if a.states else ""
    basis = "" if a.states else suffix  # what of libbpf's results to use
    out = CORPUS / "results" / a.kernel
    out.mkdir(parents=True, exist_ok=True)
    bpfreplay = out / "bpfreplay"
    subprocess.run(["go", "build", "-o", bpfreplay, "./cmd/bpfreplay"], cwd=ROOT, check=True, env={**os.environ, "CGO_ENABLED": "0"})
    release, kernel = find_kernel(bpfreplay, a.kernel)
    if a.baseline or a.only_baseline or not (out / f"libbpf{basis}.tsv").exists():
        say(f"libbpf on {len(objects)} objects, kernel {release}")
        baseline(kernel, release, objects, out, basis, ["-p"] if a.programs else [])
    base = read_baseline(out, basis)
    if a.only_baseline:
        print(f"{sum(b.direct == 'ok' for b in base.values())} of {len(base)} loaded directly")
        return 0
    wanted = {n for n in base if n.split("/")[0] in chosen}
    if a.times:
        names = sorted(n for n in wanted if base[n].direct == base[n].light == "ok" and int(base[n].direct_ns) < SLOW)
        what = "profile" if a.profile else "icount" if a.icount else "times"
        args = ["-profile"] if a.profile else ["-rounds", str(a.times)]
        rows = run_times(kernel, release, [OBJECTS / f"{n}.bpf.o" for n in names], out, names, what, args, a.icount)
        lines = (profile_summary(a.kernel, release, rows) if a.profile
                 else times_summary(a.kernel, release, [Time(*r) for r in rows], a.times, a.icount))
        (out / f"{what}.txt").write_text("\n".join(lines) + "\n")
        print("\n".join(lines))
        return 0
    run = sorted(n for n in wanted if a.all or a.objects or base[n].direct == "ok")
    if a.programs:
        results = run_each(kernel, release, objects, out, run)
    else:
        engines = ["-e", "trace,replay"]
        if a.states:
            engines = ["-e", "libbpf,replay", "--bpftool", CORPUS / "bpftool"]
        results = run_ours(bpfreplay, a.kernel, [OBJECTS / f"{n}.bpf.o" for n in run], out, suffix, engines)
    ours = [r for r in write_ours(out / f"ours{suffix}.tsv", results) if r.name in wanted]
    write_failures(out / f"failures{suffix}.txt", a.kernel, release, base, ours, wanted)
    lines, missed = summary(a.kernel, release, base, ours, wanted)
    (out / f"summary{suffix}.txt").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    print(f"  each of them: {out}/failures{suffix}.txt")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

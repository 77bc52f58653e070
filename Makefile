# `make` lists the targets and variables.

KERNEL  ?= 6.12
ARCH    ?=
CASE    ?=
OBJ     ?=
JOBS    ?=
SHARD   ?=
ENGINES ?=
BPFTOOL ?=
SUITE   ?=
KSRC    ?=
SPLIT   ?=
ISOLATE ?=
ARGS    ?=
N       ?= 200
SEED    ?=

# The kernels that tests boot: one without loader programs, an older one with them, the default, one
# for each signature contract, and one of another architecture.
TEST_KERNELS ?= 5.10 6.1 6.12 6.18 7.2 stable arm64/6.12

# The command is also the init of guests, so it must not need a C library.
export CGO_ENABLED := 0
export PATH := $(PATH):/usr/sbin:/sbin

# A directory is newer than the binary after a file was added or removed.
sources := go.mod go.sum embed.go kernels.yaml selftests/cases.yaml $(wildcard selftests/bpf/*.o selftests/baselines/*/* selftests/baselines/*/*/*) $(shell find cmd harness internal loader suites vmimage \( -type d -o -name '*.go' -o -path '*/report/page/*' -o -path '*/policy/bpf/policy.bpf.o' -o -name runtime.h -o -name types.h -o -path '*/skelprog/driver*' \) \
	! -name testdata ! -path '*/testdata/*' ! -name '*_test.go')

# Built-in rules cost 40 ms, because make tries them for each source, and none applies.
MAKEFLAGS += --no-builtin-rules
.SUFFIXES:

# Values reach the command unchanged, whatever characters they have. q quotes one word for the
# shell, quoted a list of words, and found expands patterns of files. The shell only splits ARGS.
in_q = $(subst ','\'',$1)
q = '$(in_q)'
quoted = $(foreach w,$1,$(call q,$w))
found = $(foreach p,$1,$(or $(wildcard $p),$p))

# $(call flag,VARIABLE,NAME) is flag --NAME with the value of VARIABLE, empty if that is.
flag = $(if $($1),--$2 $(call q,$($1)))
guest = --kernel $(call q,$(KERNEL)) $(call flag,ARCH,arch) $(call flag,ENGINES,engines) $(call flag,BPFTOOL,bpftool)
cases = $(foreach c,$(CASE),--case $(call q,$c)) $(call flag,SHARD,shard) $(call flag,JOBS,jobs) $(call flag,SUITE,suite) \
	$(if $(ISOLATE),--isolate) $(if $(SPLIT),--split)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# foreign are the architectures in ARCH or KERNEL other than this machine's. Their guests need
# another QEMU, and the command built for them, beside this machine's.
comma := ,
parts = $(subst $(comma), ,$1)
foreign = $(filter-out $(if $(named),$(shell go env GOARCH)),$(named))
named = $(sort $(foreach a,amd64 arm64 riscv64,$(if $(filter $a,$(call parts,$(ARCH)))$(filter $a/%,$(call parts,$(KERNEL))),$a)))
guests = setup-vmtest bpfreplay $(foreach a,$(foreign),setup-$a bpfreplay.$a)

.PHONY: deb deb-test docs-check docs-tables stress help setup doctor build suite vmtest mutate fuzz-diff test guesttest bench lint objects clean setup-%

help: ## print this help
	@echo 'make TARGET [NAME=VALUE...]'; echo
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1\t\2/p' Makefile | expand -t 12
	@echo; echo 'What vmtest takes (now in brackets):'
	@echo '  KERNEL    a name in kernels.yaml, an image, or a built kernel tree; vmtest takes several, or a'
	@echo '            tier: smoke, ci, all [$(call in_q,$(KERNEL))]'
	@echo '  ARCH      architecture of the kernels: amd64, arm64, riscv64; without it, this machine'"'"'s. A kernel'
	@echo '            that is named with one (arm64/6.12) has that [$(call in_q,$(ARCH))]'
	@echo '  CASE      patterns of the cases to run, or behind ! not to run; without it, all [$(call in_q,$(CASE))]'
	@echo '  OBJ       your objects: which kernels load them, and why not [$(call in_q,$(OBJ))]'
	@echo '  SHARD     of all kernels and cases, the part I/N [$(call in_q,$(SHARD))]'
	@echo '  JOBS      guests at the same time; without it, one a processor, and fewer for few cases [$(call in_q,$(JOBS))]'
	@echo '  ENGINES   engines to run, with commas between them, of direct, trace, replay, signed, libbpf,'
	@echo '            libbpf-light, skel-go and skel-c; without it, the first three, and for mutate these'
	@echo '            and those of libbpf [$(call in_q,$(ENGINES))]'
	@echo '  BPFTOOL   the bpftool that libbpf and libbpf-light drive, an ELF file [$(call in_q,$(BPFTOOL))]'
	@echo '  ISOLATE   "case" runs each case in a guest of its own [$(call in_q,$(ISOLATE))]'
	@echo '  SUITE     kernel for the Linux selftests, which are fetched and compiled first; KSRC names a'
	@echo '            kernel tree to take them from; wild for objects that people ship, which are fetched;'
	@echo '            SPLIT=program loads each program alone [$(call in_q,$(SUITE))]'
	@echo '  ARGS      more arguments of bpfreplay vmtest: objects of yours, flags [$(call in_q,$(ARGS))]'

setup: setup-vmtest $(foreach a,$(foreign),setup-$a) ## install what a guest needs and this machine lacks

doctor: bpfreplay ## check this machine, and print a fix for each problem
	./bpfreplay doctor --kernel $(call q,$(KERNEL)) $(call flag,ARCH,arch) $(ARGS)

build: bpfreplay ## build the command, a static binary

bpfreplay: $(sources)
	go build -trimpath -buildvcs=false -ldflags '-s -w' -o $@ ./cmd/bpfreplay

# The command for guests of another architecture. The command checks that it is newer than itself.
bpfreplay.%: $(sources) bpfreplay
	GOARCH=$* go build -trimpath -buildvcs=false -ldflags '-s -w' -o $@ ./cmd/bpfreplay
	@touch $@

# The engines of libbpf need this machine's bpftool, unless BPFTOOL names one.
ifeq ($(BPFTOOL),)
ifneq ($(findstring libbpf,$(ENGINES)),)
vmtest mutate: setup-bpftool
endif
ifeq ($(ENGINES),)
mutate: setup-bpftool
endif
endif

ifneq ($(filter kernel wild,$(SUITE)),)
vmtest: suite
endif

# The Linux selftests are compiled for each architecture of the kernels.
suite_archs = $(or $(call parts,$(ARCH)),$(sort $(foreach k,$(call parts,$(KERNEL)),$(if $(filter $(foreign),$(firstword $(subst /, ,$k))),$(firstword $(subst /, ,$k)),$(shell go env GOARCH)))))

define fetch_kernel
./bpfreplay suite fetch kernel --arch $1 $(call flag,KSRC,source)

endef

# Suite wild needs no compiler.
ifeq ($(SUITE),wild)
suite: setup-vmtest bpfreplay
	./bpfreplay suite fetch wild
else
suite: setup-suite bpfreplay ## fetch the Linux selftests and compile them: KSRC=~/linux, or SUITE=wild
	$(foreach a,$(suite_archs),$(call fetch_kernel,$a))
endif

vmtest: $(guests) ## load the core suite in a guest with each engine and compare
	./bpfreplay $(if $(OBJ),check,vmtest) $(guest) $(cases) $(ARGS) $(call quoted,$(call found,$(OBJ)))

mutate: $(guests) ## break loads in a guest, and check that each fault is noticed
	./bpfreplay mutate $(guest) $(ARGS)

# fuzz-diff compares with libbpf, unless ENGINES names other engines.
ifeq ($(BPFTOOL)$(if $(ENGINES),$(findstring libbpf,$(ENGINES)),libbpf),libbpf)
fuzz-diff: setup-bpftool
endif

fuzz-diff: $(guests) ## load N random objects in a guest and compare: N=2000 SEED=1
	./bpfreplay fuzz-diff $(guest) -n $(call q,$(N)) $(call flag,SEED,seed) $(ARGS)

test: setup-test bpfreplay ## run all tests, in guests too
	./bpfreplay kernels fetch $(TEST_KERNELS)
	go mod download # tests compile skeletons, with nothing but what is here
	go vet ./...
	@if command -v clang-19 >/dev/null; then echo scripts/objects.sh --check; scripts/objects.sh --check; \
	else echo 'no clang-19: whether the objects come from their sources is not checked'; fi
	@machine=$$(go test -v -count=1 -run '^TestMachine$$' ./internal/need 2>&1) || { echo "$$machine"; exit 1; }; \
	echo "$$machine"; \
	export BPFREPLAY_TEST_STRICT=1; \
	why=$$(echo "$$machine" | sed -n 's/.*needs bpf(2): //p'); \
	[ -n "$$why" ] || exec go test -p 2 -timeout 60m ./...; \
	echo "This machine's bpf(2) cannot be used ($$why), so what needs it runs in a guest of $(KERNEL) afterwards."; \
	status=0; BPFREPLAY_TEST_BPF=unusable go test -p 2 -timeout 60m ./... || status=1; \
	$(MAKE) --no-print-directory guesttest || status=1; \
	exit $$status

# bpf_packages are the packages whose tests need bpf(2). The guest has the tree at the same path,
# and the programs that the tests run. There a test may be skipped for a missing program, but not
# for bpf(2).
bpf_packages = $(addprefix ./,$(sort $(dir $(shell grep -rl --include='*_test.go' 'need[.]BPF' harness internal loader))))
in_guest = '$(CURDIR)/bpfreplay' exec --kernel '$(KERNEL)' --env BPFREPLAY_TEST_BPF=must \
	$(foreach f,loader internal harness selftests/bpf selftests/cases.yaml kernels.yaml,--with '$(CURDIR)/$f') \
	--with /bin/sh $(foreach p,bpftool sleep strace,--with $$(command -v $p)) --

guesttest: setup-test bpfreplay ## run the tests that load into the kernel in a guest
	go test -p 2 -count=1 -exec "$(in_guest)" $(bpf_packages)

bench: setup-bench bpfreplay ## measure what has a budget, as ratios
	go run ./internal/bench --kernel $(call q,$(KERNEL)) $(ARGS)

lint: ## check format and style
	scripts/lint.sh

objects: setup-objects ## build the objects of the core suite from their sources
	scripts/objects.sh

deb: ## make a Debian package of the command, in out/
	scripts/deb.sh

deb-test: ## install that package in a clean chroot, and run the action's steps there
	scripts/deb-test.sh

docs-check: bpfreplay ## test the commands and links of the docs
	go test -count=1 -run '^TestDocs' ./cmd/bpfreplay

docs-tables: ## write the generated tables of the docs anew
	BPFREPLAY_WRITE_TABLES=1 go test -count=1 -run '^TestDocsTables$$' ./cmd/bpfreplay

stress: bpfreplay ## run guests under stress: 500 in a row, 8 at once, kills, full disks, little memory
	scripts/stress.sh

clean: ## remove what was built and reported; the cache of kernels stays
	rm -rf bpfreplay bpfreplay.amd64 bpfreplay.arm64 bpfreplay.riscv64 out

setup-%:
	@scripts/setup.sh $*

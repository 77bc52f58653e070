#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define __ulong(name, val) enum { ___bpf_concat2(__unique_value_, name) = val } name
#define ___bpf_concat2(a, b) a##b

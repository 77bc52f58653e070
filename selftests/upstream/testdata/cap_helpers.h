/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPFREPLAY_CAP_HELPERS_H
#define BPFREPLAY_CAP_HELPERS_H

#include <linux/capability.h>

int cap_enable_effective(__u64 caps, __u64 *old_caps);
int cap_disable_effective(__u64 caps, __u64 *old_caps);

#endif

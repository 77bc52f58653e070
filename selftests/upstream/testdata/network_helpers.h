/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPFREPLAY_NETWORK_HELPERS_H
#define BPFREPLAY_NETWORK_HELPERS_H

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>

/* The selftests' packet of TCP over IPv4. */
extern struct ipv4_packet {
	struct ethhdr eth;
	struct iphdr iph;
	struct tcphdr tcp;
} __attribute__((packed)) pkt_v4;

#endif

/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* walk/arch.h -- picks the architecture of the targets. */
#ifndef GP_WALK_ARCH_H
#define GP_WALK_ARCH_H

#if defined(__TARGET_ARCH_x86) || defined(__x86_64__)
#include "bpf/walk/arch_x86_64.h"
#else
#error "no walker for this architecture: add bpf/walk/arch_<name>.h"
#endif

#endif

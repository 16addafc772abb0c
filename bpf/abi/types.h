/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* abi/types.h -- fixed-width names for text that both sides include. The BPF side gets them from
 * <linux/types.h> as well, so a header under abi/ and walk/ includes this and nothing else. */
#ifndef GP_ABI_TYPES_H
#define GP_ABI_TYPES_H

#include <linux/types.h>

#define ABI_SIZE(type, size) _Static_assert(sizeof(type) == (size), #type " is part of the ABI")

#endif

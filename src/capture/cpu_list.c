/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/cpu_list.h"

#include <ctype.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"

static bool number(const char **p, uint32_t *ret)
{
	uint32_t n = 0;

	if (!isdigit((unsigned char)**p))
		return false;
	for (; isdigit((unsigned char)**p); (*p)++) {
		n = n * 10 + (uint32_t)(**p - '0');
		if (n >= CPU_LIST_MAX)
			return false;
	}
	*ret = n;
	return true;
}

int cpu_list_parse(const char *text, struct cpu_vec *ret)
{
	uint32_t next = 0;

	while (*text && *text != '\n') {
		uint32_t first, last;

		if (!number(&text, &first))
			return -EINVAL;
		last = first;
		if (*text == '-' && (text++, !number(&text, &last)))
			return -EINVAL;
		// The kernel writes them ascending; anything else would make a CPU appear twice.
		if (first < next || last < first)
			return -EINVAL;
		for (uint32_t cpu = first; cpu <= last; cpu++) {
			int r = cpu_vec_push(ret, cpu);

			if (r)
				return r;
		}
		next = last + 1;
		if (*text == ',')
			text++;
		else if (*text && *text != '\n')
			return -EINVAL;
	}
	return 0;
}

int cpu_list_read(const char *path, struct cpu_vec *ret)
{
	_cleanup_buf_ struct buf b = BUF_INIT(65536);
	long n;

	if (!fs_read_file(path, &b))
		return cpu_list_parse(buf_str(&b), ret);
	n = sysconf(_SC_NPROCESSORS_CONF);
	for (long cpu = 0; cpu < MAX(n, 1L) && cpu < CPU_LIST_MAX; cpu++) {
		int r = cpu_vec_push(ret, (uint32_t)cpu);

		if (r)
			return r;
	}
	return 0;
}

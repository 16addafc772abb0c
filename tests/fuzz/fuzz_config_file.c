/* SPDX-License-Identifier: Apache-2.0 */
/* Config files of any bytes: parsed or refused, never more. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#include "config/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	_cleanup_options_ struct options o;
	_cleanup_buf_ struct buf why = BUF_INIT(1 << 20);
	_cleanup_json_ json_t *j = NULL;
	int r;

	if (option_defaults(&o, &why))
		return 0;
	r = option_file_parse(&o, (const char *)data, len, OPTION_FROM_FILE, &why);
	// A refusal says why; what was accepted keeps its bounds and can be shown.
	if (r > 0 && !why.len)
		abort();
	if (o.frequency < 1 || o.frequency > 1000 || o.perf_dwarf_stack_size > 65528)
		abort();
	r = option_validate(&o, &why);
	j = options_to_json(&o);
	return 0;
}

int fuzz_seed(unsigned n, struct buf *out)
{
	static const char *const seeds[] = {
		"profiling-frequency = 99\noutput-dir: /tmp/x # where\nverbose\npids = [1, '2', 3]\n",
		"--log-file \"/a b/c\" ; why\n[section]\n---\nno-flamegraph true\nperf-mode=dwarf\n",
		"token = 'hush'\nperf-events = [cycles, \"instructions\", odd]\nformat pprof,html\n",
		"alloc-interval = 2mb\njava-mode ap\npids=1,2,3\r\n\tmode : none\n",
		"verbose = maybe",
		"log-file = 'it's' # x 'y' # z",
	};

	if (n >= ARRAY_SIZE(seeds))
		return -1;
	return buf_append_str(out, seeds[n]);
}

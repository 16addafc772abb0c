/* SPDX-License-Identifier: Apache-2.0 */
/* The record of runs and addresses to listen on, of any bytes. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "agent/run_record.h"
#include "delivery/http_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct sockaddr_storage address;
	struct run_facts f;
	socklen_t size = 0;
	char *text = strndup((const char *)data, len);

	run_record_parse((const char *)data, len, &f);
	if (strlen(f.state) >= sizeof(f.state) || strlen(f.boot) >= sizeof(f.boot))
		abort();
	if (run_record_judge(&f, "boot", 1) >= RUN_ENDS)
		abort();
	if (text && http_server_parse(text, &address, &size) == 0 && (!size || !len))
		abort();
	free(text);
	return 0;
}

int fuzz_seed(unsigned n, struct buf *out)
{
	static const char *const seeds[] = {
		"gprofiler run 1\nstate running  00\nboot 0f9c1c3e-7d0b-4f36-9d34-5d5f0f3b2a11\n"
		"started 00000000001700000000\nseen 00000000001700000100\noom_kills 00000000000000000003\n"
		"clean 00000000000000000012\nfailed 00000000000000000001\ncrash 0\nkilled 2\noom 1\nreboot 4\n",
		"gprofiler run 1\nstate crash    11\n",
		"127.0.0.1:9203",
		"[::1]:9203",
		":80",
		"localhost:0",
	};

	if (n >= ARRAY_SIZE(seeds))
		return -1;
	return buf_append_str(out, seeds[n]);
}

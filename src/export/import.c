/* SPDX-License-Identifier: Apache-2.0 */
#include "export/import.h"

#include <string.h>

/* A line that ends in " <digits>" and has something before it. */
static bool is_collapsed_line(const char *s, size_t len)
{
	size_t digits = 0;

	while (digits < len && s[len - 1 - digits] >= '0' && s[len - 1 - digits] <= '9')
		digits++;
	return digits && digits + 1 < len && s[len - 1 - digits] == ' ';
}

enum import_format import_guess(const char *data, size_t len)
{
	const char *end = data + len;

	if (len >= 2 && (unsigned char)data[0] == 0x1f && (unsigned char)data[1] == 0x8b)
		return IMPORT_PPROF;
	// Field 1, length-delimited, is what every writer of profile.proto begins with.
	if (len >= 3 && data[0] == 0x0a && (memchr(data, 0, len) || data[2] == 0x08))
		return IMPORT_PPROF;
	for (const char *s = data; s < end;) {
		const char *nl = memchr(s, '\n', (size_t)(end - s));
		size_t n = (size_t)((nl ? nl : end) - s);
		struct perf_script_header header;
		struct text_slice rest;

		if (n && s[n - 1] == '\r')
			n--;
		if (n > 2 && memcmp(s, "# {", 3) == 0)
			return IMPORT_COLLAPSED;
		if (n && s[0] != '#') {
			if (perf_script_parse_header(s, n, false, &header, &rest))
				return IMPORT_PERF_SCRIPT;
			if (nl && is_collapsed_line(s, n))
				return IMPORT_COLLAPSED;
			if (!nl)
				return is_collapsed_line(s, n) || memchr(s, ';', n)
					       ? IMPORT_COLLAPSED
					       : IMPORT_UNKNOWN;
		}
		s += n + 1;
		while (s < end && s[-1] != '\n')
			s++;
	}
	return IMPORT_UNKNOWN;
}

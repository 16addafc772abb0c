/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of instructions from line tables, for test_line_tables.py. Reads records of text lines:
 * "FORMAT FIRST HEX" and "OFFSET ..."; prints one text line of numbers a record. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/python/lines.h"

static size_t unhex(const char *s, uint8_t *ret)
{
	size_t n = 0;
	char two[3] = {0};

	for (; s[0] && s[1] && s[0] != '\n'; s += 2) {
		memcpy(two, s, 2);
		ret[n++] = (uint8_t)strtoul(two, NULL, 16);
	}
	return n;
}

int main(void)
{
	char *head = NULL, *offsets = NULL, *p, *end;
	size_t head_size = 0, offsets_size = 0, len;

	while (getline(&head, &head_size, stdin) > 0 &&
		getline(&offsets, &offsets_size, stdin) > 0) {
		enum py_line_format format = (enum py_line_format)strtoul(head, &p, 10);
		uint32_t first = (uint32_t)strtoul(p, &p, 10);
		uint8_t *table = malloc(strlen(p) + 1);

		if (!table)
			return 1;
		len = unhex(p + (*p == ' '), table);
		for (p = offsets;; p = end) {
			long off = strtol(p, &end, 10);

			if (end == p)
				break;
			printf("%u ", py_line_of(format, table, len, first, (int32_t)off));
		}
		putchar('\n');
		free(table);
	}
	free(head);
	free(offsets);
	return 0;
}

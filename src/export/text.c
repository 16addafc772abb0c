/* SPDX-License-Identifier: Apache-2.0 */
#include "export/text.h"

#include <errno.h>
#include <string.h>

int export_text_clean(struct buf *out, const char *s, size_t len)
{
	while (len && (unsigned char)*s <= ' ') {
		s++;
		len--;
	}
	while (len && (unsigned char)s[len - 1] <= ' ')
		len--;
	if (!len)
		return 0;
	if (buf_append(out, s, len))
		return -ENOSPC;
	for (char *c = out->data + out->len - len; c < out->data + out->len; c++) {
		if (*c == ';')
			*c = ':';
		else if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = ' ';
	}
	return 0;
}

bool export_text_is_path(const char *s, size_t len)
{
	size_t depth = 0;

	if (len < 3 || s[0] != '(')
		return false;
	// "(anonymous namespace)::f()" closes before its end.
	for (size_t i = 0; i < len; i++) {
		if (s[i] == '(')
			depth++;
		else if (s[i] == ')' && depth && --depth == 0)
			return i == len - 1;
	}
	return false;
}

static bool starts(const char *s, size_t len, const char *with)
{
	size_t n = strlen(with);

	return len >= n && memcmp(s, with, n) == 0;
}

static bool ends(const char *s, size_t len, const char *with)
{
	size_t n = strlen(with);

	return len >= n && memcmp(s + len - n, with, n) == 0;
}

bool export_module_is_kernel(const char *s, size_t len)
{
	static const char *const user[] = {
		"[vdso", "[vsyscall", "[vvar", "[heap", "[stack", "[anon", "[unknown", "[uprobes"};
	static const char *const object[] = {".ko", ".ko.xz", ".ko.gz", ".ko.zst"};
	const char *slash;

	if (len > 2 && s[0] == '[') {
		for (size_t i = 0; i < ARRAY_SIZE(user); i++)
			if (starts(s, len, user[i]))
				return false;
		return s[len - 1] == ']' || starts(s, len, "[kernel.");
	}
	for (size_t i = 0; i < ARRAY_SIZE(object); i++)
		if (ends(s, len, object[i]))
			return true;
	slash = memrchr(s, '/', len);
	if (!slash)
		return starts(s, len, "vmlinux") || starts(s, len, "bpf_prog_");
	return starts(slash + 1, len - (size_t)(slash + 1 - s), "vmlinux");
}

bool export_module_is_jit(const char *s, size_t len)
{
	static const char map[] = "/tmp/perf-";
	const char *end = s + len, *p = memmem(s, len, map, strlen(map));
	const char *slash;

	if (p) {
		const char *digits = p + strlen(map);

		for (p = digits; p < end && *p >= '0' && *p <= '9'; p++)
			;
		if (p > digits && starts(p, (size_t)(end - p), ".map"))
			return true;
	}
	slash = memrchr(s, '/', len);
	return slash && starts(slash + 1, (size_t)(end - slash - 1), "jitted-") &&
	       ends(s, len, ".so");
}

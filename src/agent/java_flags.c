/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/java_flags.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLAGS_MAX 256
#define NAME_MAX_BYTES 96 // HotSpot's longest has 50
#define VALUE_MAX 48

struct flag {
	char name[NAME_MAX_BYTES];
	char value[VALUE_MAX];
	const char *type; // NULL unknown
	bool environment;
};

struct flags {
	struct flag all[FLAGS_MAX];
	size_t n;
	const char *choice; // names, NULL all
};

/* Of HotSpot 8 to 25: kind manageable. */
static const char *const manageable[] = {"CMSAbortablePrecleanWaitMillis", "CMSTriggerInterval",
	"CMSWaitDuration", "FullGCHeapDumpLimit", "G1PeriodicGCInterval",
	"G1PeriodicGCSystemLoadThreshold", "HeapDumpAfterFullGC", "HeapDumpBeforeFullGC",
	"HeapDumpGzipLevel", "HeapDumpOnOutOfMemoryError", "HeapDumpPath", "MaxHeapFreeRatio",
	"MinHeapFreeRatio", "PrintClassHistogram", "PrintClassHistogramAfterFullGC",
	"PrintClassHistogramBeforeFullGC", "PrintConcurrentLocks", "PrintGC", "PrintGCDateStamps",
	"PrintGCDetails", "PrintGCID", "PrintGCTimeStamps", "ShowCodeDetailsInExceptionMessages",
	"SoftMaxHeapSize"};

static bool is_manageable(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(manageable); i++)
		if (!strcmp(manageable[i], name))
			return true;
	return false;
}

/* Is a name in a comma list? */
static bool listed(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (const char *s = list; *s; s += strcspn(s, ","), s += *s == ',')
		if (strcspn(s, ",") == len && memcmp(s, name, len) == 0)
			return true;
	return false;
}

static void put(struct flags *f, const struct flag *flag)
{
	struct flag *to = &f->all[f->n];

	if (is_manageable(flag->name) || (f->choice && !listed(f->choice, flag->name)))
		return;
	for (size_t i = 0; i < f->n; i++)
		if (!strcmp(f->all[i].name, flag->name))
			to = &f->all[i];
	if (to == &f->all[FLAGS_MAX])
		return;
	f->n += to == &f->all[f->n];
	*to = *flag;
}

/* "512m" is 536870912, as the JVM prints it. Return false: it is no whole number. */
static bool parse_size(const char *text, uint64_t *ret)
{
	static const char units[] = "kmgt";
	const char *unit;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	*ret = strtoull(
		text, &end, text[0] == '0' && tolower((unsigned char)text[1]) == 'x' ? 16 : 10);
	unit = *end ? strchr(units, tolower((unsigned char)*end)) : NULL;
	if (errno || (*end && (!unit || end[1])))
		return false;
	for (const char *u = units; unit && u <= unit; u++) {
		if (*ret > UINT64_MAX / 1024)
			return false;
		*ret *= 1024;
	}
	return true;
}

static bool is_number(const char *text)
{
	char *end;

	strtod(text, &end);
	return end > text && !*end && strchr("+-.0123456789", text[0]);
}

/* "-XX:+Name", "-XX:-Name", "-XX:Name=value". */
static void take_flag(struct flags *f, const char *name, bool environment)
{
	const char *equals = strchr(name, '=');
	bool toggle = *name == '+' || *name == '-';
	struct flag flag = {.environment = environment, .type = toggle ? "bool" : NULL};
	const char *value = equals ? equals + 1 : "";
	uint64_t number;
	size_t len;

	name += toggle;
	len = toggle || !equals ? strlen(name) : (size_t)(equals - name);
	if (!len || len >= sizeof(flag.name) || (!toggle && !equals))
		return;
	memcpy(flag.name, name, len);
	if (toggle)
		snprintf(flag.value, sizeof(flag.value), "%s", name[-1] == '+' ? "true" : "false");
	else if (parse_size(value, &number))
		snprintf(flag.value, sizeof(flag.value), "%" PRIu64, number);
	else if (is_number(value) && strlen(value) < sizeof(flag.value))
		memcpy(flag.value, value, strlen(value) + 1);
	else
		return;
	put(f, &flag);
}

/* Shorter names of flags: what the JVM makes of them. */
static void take_short(struct flags *f, const char *text, bool environment)
{
	static const struct {
		const char *prefix, *names[2], *type;
		unsigned unit;
	} shorts[] = {
		{"-Xmx", {"MaxHeapSize"}, "size_t", 1},
		{"-Xms", {"InitialHeapSize", "MinHeapSize"}, "size_t", 1},
		{"-Xmn", {"MaxNewSize", "NewSize"}, "size_t", 1},
		{"-Xss", {"ThreadStackSize"}, "intx", 1024},
	};
	uint64_t number;

	for (size_t i = 0; i < ARRAY_SIZE(shorts); i++) {
		if (strncmp(text, shorts[i].prefix, 4) != 0 || !parse_size(text + 4, &number))
			continue;
		for (size_t k = 0; k < ARRAY_SIZE(shorts[i].names) && shorts[i].names[k]; k++) {
			struct flag flag = {.type = shorts[i].type, .environment = environment};

			snprintf(flag.name, sizeof(flag.name), "%s", shorts[i].names[k]);
			snprintf(flag.value, sizeof(flag.value), "%" PRIu64,
				(number + shorts[i].unit - 1) / shorts[i].unit);
			put(f, &flag);
		}
	}
}

static int by_name(const void *a, const void *b)
{
	const struct flag *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static json_t *to_json(const struct flag *flag)
{
	json_t *o = json_object();

	json_object_set_new(o, "name", json_text(flag->name));
	json_object_set_new(o, "type", flag->type ? json_string(flag->type) : json_null());
	json_object_set_new(o, "value", json_text(flag->value));
	json_object_set_new(
		o, "origin", json_string(flag->environment ? "environment" : "command line"));
	json_object_set_new(o, "kind", json_array());
	return o;
}

json_t *java_flags(const struct java_options *options, const char *choice)
{
	_cleanup_free_ struct flags *f = calloc(1, sizeof(*f));
	json_t *list = json_array();

	if (!f || (choice && (!choice[0] || !strcmp(choice, "none") || !strcmp(choice, "\"\""))))
		return list;
	if (choice && strcmp(choice, "default") != 0 && strcmp(choice, "all") != 0)
		f->choice = choice;
	for (unsigned i = 0; i < options->n; i++) {
		const char *text = java_option_text(options, i);

		if (!strncmp(text, "-XX:", 4))
			take_flag(f, text + 4, options->all[i].environment);
		else
			take_short(f, text, options->all[i].environment);
	}
	qsort(f->all, f->n, sizeof(f->all[0]), by_name);
	for (size_t i = 0; i < f->n; i++)
		json_array_append_new(list, to_json(&f->all[i]));
	return list;
}

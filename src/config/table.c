/* SPDX-License-Identifier: Apache-2.0 */
#include "config/table.h"

#include <string.h>

#define REF OPTION_REF
#define NOT_YET OPTION_NOT_YET
#define ACCEPTED OPTION_ACCEPTED
#define LATER OPTION_LATER
#define SECRET OPTION_SECRET
#define HIDDEN OPTION_HIDDEN
#define CLI OPTION_CLI
#define LIVE OPTION_LIVE
#define OPTARG OPTION_OPTARG

/* An alias takes type, bounds and values from the row it names, at use. */
const struct option_row option_rows[OPTION_COUNT] = {
#define OPT(field, kind, long_name, short_name, default_text, least, most, vals, bits, grp, text)  \
	[OPTION_##field] = {                                                                       \
		.name = long_name,                                                                 \
		.letter = short_name,                                                              \
		.type = OPTION_TYPE_##kind,                                                        \
		.group = OPTION_GROUP_##grp,                                                       \
		.flags = bits,                                                                     \
		.target = OPTION_##field,                                                          \
		.offset = offsetof(struct options, field),                                         \
		.def = default_text,                                                               \
		.min = least,                                                                      \
		.max = most,                                                                       \
		.values = vals,                                                                    \
		.help = text,                                                                      \
	},
#define ALIAS(id, field, long_name, value, bits, grp, text)                                        \
	[OPTION_##id] = {                                                                          \
		.name = long_name,                                                                 \
		.type = OPTION_TYPE_STR,                                                           \
		.group = OPTION_GROUP_##grp,                                                       \
		.flags = bits,                                                                     \
		.target = OPTION_##field,                                                          \
		.offset = offsetof(struct options, field),                                         \
		.constant = value,                                                                 \
		.def = "",                                                                         \
		.values = "",                                                                      \
		.help = text,                                                                      \
	},
#include "config/options.def"
#undef OPT
#undef ALIAS
};

const struct option_group_row option_groups[OPTION_GROUP_COUNT] = {
	[OPTION_GROUP_TARGET] = {"What to profile", NULL, NULL},
	[OPTION_GROUP_OUTPUT] = {"What comes out", NULL, NULL},
	[OPTION_GROUP_NATIVE] = {"Native stacks", NULL, NULL},
	[OPTION_GROUP_RUNTIME] = {"Stacks of runtimes", NULL, NULL},
	[OPTION_GROUP_GUARD] = {"Guard rails", NULL, NULL},
	[OPTION_GROUP_STUDIO] = {"Studio", NULL, NULL},
	[OPTION_GROUP_PROGRAM] = {"The program", NULL, NULL},
	[OPTION_GROUP_CHECK] = {"gprofiler check", "check", "[--json]"},
	[OPTION_GROUP_CONVERT] = {"gprofiler convert", "convert",
		"[--from FORMAT] [--to FORMAT] [options] [FILE]",
		"Reads standard input without FILE. --to follows from the name of --output (.html,\n"
		".pb.gz, .json), else it is collapsed. Text that cannot be read is named by line, and\n"
		"the samples before and after it are kept. ';' in a name becomes ':'.\n"
		"Exit status: 0 done, even if parts were left out; 1 nothing could be read, or the\n"
		"output not written; 2 wrong options.\n"},
	[OPTION_GROUP_DIFF] = {"gprofiler diff", "diff", "A B [-o FILE] [--top N]"},
	[OPTION_GROUP_DUMP] = {"gprofiler dump", "dump",
		"-p PID [--json] [--line-numbers] [--inline]",
		"Prints each thread of a process with its name, its state and its stack, as they are\n"
		"now, innermost call first: the kernel's side, native frames, and Python frames in\n"
		"their places, with the line that runs. --line-numbers adds file and line to native\n"
		"ones. The process is never stopped, signalled or woken. A thread that stood still\n"
		"while it was read is shown as one stack. Of one that runs, native frames are those of\n"
		"its last entry into the kernel and stand apart; one that ran on at each attempt is\n"
		"said to have moved, a Python stack to be torn. Without BPF (root, or CAP_BPF and\n"
		"CAP_PERFMON; Linux 5.15) native stacks are those of blocked threads, as far as two\n"
		"registers lead, without the kernel's side.\n"
		"Exit status: 0 done; 1 the process cannot be read; 2 wrong options.\n"},
	[OPTION_GROUP_STATUS] = {"gprofiler status", "status", "[--json]",
		"Asks the agent that runs on this machine, also in a container, how it is: what it\n"
		"samples and through which rung, the memory it takes, what was lost, the last upload,\n"
		"what waits in the spool, the governor, heartbeats, and how earlier runs ended. It\n"
		"answers root and its own user.\n"
		"Exit status: 0 it answered; 3 no agent runs; 1 it cannot be asked; 2 wrong options.\n"},
	[OPTION_GROUP_TOP] = {"gprofiler top", "top", "[-p PID[,PID...]] [options]",
		"Samples the machine and shows, for each second, the busiest processes and functions\n"
		"of all runtimes, native code and the kernel, and what was lost. SELF: samples in which\n"
		"a function runs itself; TOTAL: in which it is on the stack. CPU is of one CPU.\n"
		"Keys: s self, t total, p by process, f by function, q quit. Without a terminal it is\n"
		"--batch. --profiling-frequency is 99 unless given. Exit status: 0 done; 1 it cannot\n"
		"sample; 2 wrong options.\n"},
	[OPTION_GROUP_UPLOAD_FILE] = {"gprofiler upload-file", "upload-file",
		"--file-path FILE --token TOKEN --service-name NAME [options]",
		"Sends a .col file to the studio. The options of the studio may stand before or after\n"
		"the verb, in the environment or in a file. Exit status: 0, also when the server did not\n"
		"take the file, which is logged; 1 when the file cannot be read or the server does not\n"
		"know the token; 2 wrong options.\n"},
};

bool option_values_next(struct option_value_walk *w)
{
	size_t n;

	if (*w->pos == '|' || *w->pos == ',') {
		w->first = *w->pos == '|';
		w->index += w->first;
		w->pos++;
	} else {
		w->first = true;
		w->index = 0;
	}
	n = strcspn(w->pos, ",|!~");
	if (n == 0 || n >= sizeof(w->text))
		return false;
	memcpy(w->text, w->pos, n);
	w->text[n] = 0;
	// The mark stands behind the first spelling and holds for the value.
	w->not_yet = w->pos[n] == '!' || (!w->first && w->not_yet);
	w->later = w->pos[n] == '~' || (!w->first && w->later);
	w->pos += n + (w->pos[n] == '!' || w->pos[n] == '~');
	return true;
}

enum option_id option_find(const char *name)
{
	for (unsigned i = 0; i < OPTION_COUNT; i++)
		if (strcmp(option_rows[i].name, name) == 0)
			return i;
	return OPTION_COUNT;
}

/* Levenshtein distance of two names, both shorter than 64. */
static unsigned edit_distance(const char *a, size_t alen, const char *b, size_t blen)
{
	unsigned row[65];

	for (unsigned j = 0; j <= blen; j++)
		row[j] = j;
	for (unsigned i = 1; i <= alen; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= blen; j++) {
			unsigned change = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = MIN(change, MIN(row[j], row[j - 1]) + 1);
		}
	}
	return row[blen];
}

const char *option_nearest(const char *name, size_t len)
{
	const char *best = NULL;
	// A third of the letters wrong is another word.
	unsigned least = (unsigned)len / 3 + 2;

	if (len > 64)
		return NULL;
	for (unsigned i = 0; i < OPTION_COUNT; i++) {
		size_t n = strlen(option_rows[i].name);
		unsigned d;

		if (n > 64 || option_rows[i].flags & OPTION_HIDDEN ||
			option_groups[option_rows[i].group].verb)
			continue;
		d = edit_distance(name, len, option_rows[i].name, n);
		// The end of a name that was cut at a dash: --frequency for --profiling-frequency.
		if (n > len && len > 3 && option_rows[i].name[n - len - 1] == '-' &&
			memcmp(option_rows[i].name + n - len, name, len) == 0)
			d = 1;
		if (d < least) {
			least = d;
			best = option_rows[i].name;
		}
	}
	return best;
}

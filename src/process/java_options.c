/* SPDX-License-Identifier: Apache-2.0 */
#include "process/java_options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "process/root.h"

#define ENVIRON_MAX (1u << 20)
#define FILE_MAX (256u << 10)

void java_options_init(struct java_options *o)
{
	o->text = BUF_INIT(JAVA_OPTIONS_BYTES_MAX);
	o->n = 0;
}

void java_options_deinit(struct java_options *o)
{
	buf_deinit(&o->text);
	o->n = 0;
}

/* ---- words ---- */

/* An option under way; it is none before its first byte or quote. */
struct word {
	struct java_options *o;
	size_t at;
	bool environment, open, cut;
};

static void begin(struct word *w)
{
	if (!w->open)
		w->at = w->o->text.len;
	w->open = true;
}

static void put(struct word *w, char c)
{
	begin(w);
	// What does not fit is no option: half of one would be another.
	if (w->cut || w->o->n == JAVA_OPTIONS_MAX || w->o->text.len + 2 > w->o->text.cap)
		w->cut = true;
	else
		buf_append_char(&w->o->text, c);
}

static void end(struct word *w)
{
	struct java_options *o = w->o;

	if (w->open && !w->cut && o->n < JAVA_OPTIONS_MAX && o->text.len + 1 <= o->text.cap) {
		buf_append_char(&o->text, 0);
		o->all[o->n++] = (struct java_option){(uint32_t)w->at, w->environment};
	}
	w->open = false;
}

static int done(const struct java_options *o)
{
	return o->text.bad ? -ENOMEM : 0;
}

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

int java_options_variable(struct java_options *o, const char *text, bool environment)
{
	struct word w = {.o = o, .environment = environment};
	char quote = 0;

	for (; *text; text++) {
		if (quote && *text == quote) {
			quote = 0;
		} else if (!quote && (*text == '"' || *text == '\'')) {
			quote = *text;
			begin(&w);
		} else if (!quote && is_blank(*text)) {
			end(&w);
		} else {
			put(&w, *text);
		}
	}
	end(&w);
	return done(o);
}

/* What a backslash in quotes and the byte behind it stand for. */
static char escaped(char c)
{
	static const char from[] = "nrtf", to[] = "\n\r\t\f";
	const char *at = c ? strchr(from, c) : NULL;

	return at ? to[at - from] : c;
}

/* Behind a backslash outside of quotes: a line break and the blanks that follow it are nothing. */
static const char *join_lines(const char *s)
{
	s += *s == '\r';
	s += *s == '\n';
	return s + strspn(s, " \t\f");
}

int java_options_file(struct java_options *o, const char *text)
{
	struct word w = {.o = o};
	char quote = 0;

	while (*text) {
		char c = *text++;

		if (c == '\\' && (*text == '\n' || *text == '\r')) {
			text = join_lines(text);
		} else if (c == '\\' && quote && *text) {
			put(&w, escaped(*text++));
		} else if (quote && c == quote) {
			quote = 0;
		} else if (!quote && (c == '"' || c == '\'')) {
			quote = c;
			begin(&w);
		} else if (!quote && c == '#') {
			end(&w);
			text += strcspn(text, "\r\n");
		} else if (c == '\n' || c == '\r' || (!quote && is_blank(c))) {
			// A quote that is left open ends with its line.
			quote = 0;
			end(&w);
		} else {
			put(&w, c);
		}
	}
	end(&w);
	return done(o);
}

/* ---- sources ---- */

/* The value of a variable in what /proc/PID/environ holds, or NULL. */
static const char *variable(const struct buf *env, const char *name)
{
	const char *s = env->data, *last = s ? s + env->len : s;
	size_t n = strlen(name);

	for (; s < last; s += strlen(s) + 1) // a buf ends with a NUL of its own
		if (strncmp(s, name, n) == 0 && s[n] == '=')
			return s + n + 1;
	return NULL;
}

/* Options whose operand is an argument of its own. */
static bool takes_operand(const char *s)
{
	static const char *const names[] = {"-cp", "-classpath", "--class-path", "-p",
		"--module-path", "--upgrade-module-path", "--add-modules", "--limit-modules",
		"--add-exports", "--add-opens", "--add-reads", "--patch-module",
		"--enable-native-access", "-d", "--describe-module", "--source"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(s, names[i]))
			return true;
	return false;
}

/* The launcher as it goes through its arguments: what stands behind the program's name is the program's. */
struct launcher {
	const char *proc;
	uint32_t pid;
	const struct arguments *args;
	bool operand; // the next one belongs to an option
	bool over; // the program was named
	bool no_files; // --disable-@files
};

static int add_word(struct java_options *o, const char *text)
{
	struct word w = {.o = o};

	for (begin(&w); *text; text++)
		put(&w, *text);
	end(&w);
	return done(o);
}

/* One word of the launcher's. Options for the JVM are kept. */
static int take_word(struct launcher *l, struct java_options *o, const char *text)
{
	if (l->over)
		return 0;
	if (l->operand) {
		l->operand = false;
		return 0;
	}
	l->no_files = l->no_files || !strcmp(text, "--disable-@files");
	l->operand = takes_operand(text);
	l->over = text[0] != '-' || !strcmp(text, "-jar") || !strcmp(text, "-m") ||
		  !strcmp(text, "--module");
	return l->over || l->operand ? 0 : add_word(o, text);
}

static int take_file(struct launcher *l, struct java_options *o, const char *name)
{
	_cleanup_free_ struct java_options *words = malloc(sizeof(*words));
	_cleanup_buf_ struct buf text = BUF_INIT(FILE_MAX);
	char path[PATH_MAX];
	int r, n = name[0] == '/' ? snprintf(path, sizeof(path), "%s", name)
				  : snprintf(path, sizeof(path), "%s/%s", l->args->cwd, name);

	if (!words)
		return -ENOMEM;
	if (n < 0 || (size_t)n >= sizeof(path) || process_root_read(l->proc, l->pid, path, &text))
		return text.bad ? -ENOMEM : 0;
	java_options_init(words);
	r = java_options_file(words, buf_str(&text));
	// A file may name no other file, and its words are taken as if they stood in its place.
	for (unsigned i = 0; i < words->n && !r; i++)
		r = take_word(l, o, java_option_text(words, i));
	java_options_deinit(words);
	return r;
}

static int take_argument(struct launcher *l, struct java_options *o, const char *text)
{
	if (l->over || l->operand || l->no_files || text[0] != '@')
		return take_word(l, o, text);
	return text[1] == '@' ? take_word(l, o, text + 1) : take_file(l, o, text + 1);
}

/* JDK_JAVA_OPTIONS: its words come before the arguments, and may name files. */
static int take_variable(struct launcher *l, struct java_options *o, const char *text)
{
	_cleanup_free_ struct java_options *words = malloc(sizeof(*words));
	int r;

	if (!words)
		return -ENOMEM;
	java_options_init(words);
	r = java_options_variable(words, text, false);
	for (unsigned i = 0; i < words->n && !r; i++)
		r = take_argument(l, o, java_option_text(words, i));
	java_options_deinit(words);
	return r;
}

int java_options_read(
	struct java_options *o, const char *proc, uint32_t pid, const struct arguments *args)
{
	struct launcher l = {.proc = proc, .pid = pid, .args = args};
	_cleanup_buf_ struct buf env = BUF_INIT(ENVIRON_MAX);
	const char *tool, *launcher, *last;
	char path[128];
	int r = 0;

	buf_clear(&o->text);
	o->n = 0;
	snprintf(path, sizeof(path), "%s/%u/environ", proc, pid);
	fs_read_file(path, &env);
	if (env.bad)
		return -ENOMEM;
	tool = variable(&env, "JAVA_TOOL_OPTIONS");
	launcher = variable(&env, "JDK_JAVA_OPTIONS");
	last = variable(&env, "_JAVA_OPTIONS");
	if (tool)
		r = java_options_variable(o, tool, true);
	// Who starts a JVM otherwise than by `java` does not look at it.
	if (!r && launcher && !strcmp(fs_basename(args->exe), "java"))
		r = take_variable(&l, o, launcher);
	for (unsigned i = 1; i < args->argc && !r; i++)
		r = take_argument(&l, o, args->argv[i]);
	if (!r && last)
		r = java_options_variable(o, last, true);
	return r;
}

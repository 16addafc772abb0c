/* SPDX-License-Identifier: Apache-2.0 */
#include "process/appid.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/fs.h"
#include "process/root.h"

#define INI_MAX (1u << 20)

/* One rule: 0 it fits, -ENOENT the next one is asked, -ENOMEM, -ENOSPC. */
typedef int (*rule_fn)(
	const struct appid_config *config, const struct appid_process *p, struct buf *ret);

static const char *arg(const struct appid_process *p, unsigned i)
{
	return argument(p->args, i);
}

static bool starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool ends_with(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);

	return n >= m && strcmp(s + n - m, suffix) == 0;
}

static bool is_program(const struct appid_process *p, unsigned i, const char *name)
{
	return strcmp(fs_basename(arg(p, i)), name) == 0;
}

/* python([23](\.\d{1,2})?)? */
bool appid_python_name(const char *path)
{
	const char *s = fs_basename(path);

	if (!starts_with(s, "python"))
		return false;
	s += 6;
	if (!*s)
		return true;
	if (*s != '2' && *s != '3')
		return false;
	if (!*++s)
		return true;
	return s[0] == '.' && isdigit((unsigned char)s[1]) &&
	       (!s[2] || (isdigit((unsigned char)s[2]) && !s[3]));
}

void appid_path(const struct appid_config *config, const struct appid_process *p, const char *path,
	char ret[PATH_MAX])
{
	char whole[PATH_MAX];
	int n = path[0] == '/' ? snprintf(whole, sizeof(whole), "%s", path)
			       : snprintf(whole, sizeof(whole), "%s/%s", p->args->cwd, path);

	if (n < 0 || (size_t)n >= sizeof(whole))
		snprintf(ret, PATH_MAX, "%s", path);
	else
		process_root_resolve(config->proc, p->pid, whole, ret);
}

/* "my.wsgi" is my/wsgi.py; what ends in .py already is a file. Only text: it need not exist. */
static void module_path_of(const struct appid_config *config, const struct appid_process *p,
	const char *module, size_t len, char ret[PATH_MAX])
{
	char file[PATH_MAX];

	if (len + 4 > sizeof(file)) {
		ret[0] = 0;
		return;
	}
	memcpy(file, module, len);
	file[len] = 0;
	if (!ends_with(file, ".py")) {
		for (char *c = file; *c; c++)
			*c = *c == '.' ? '/' : *c;
		memcpy(file + len, ".py", 4);
	}
	appid_path(config, p, file, ret);
}

static int found(struct buf *ret)
{
	return ret->bad ? -ENOSPC : 0;
}

/* The value behind an option, "-A X", "-AX" (joined), "--app=X" (equals), or NULL. An option without
 * its value, at the end, fails the rule: *failed. An empty value is none. */
struct lookup {
	const char *name;
	bool joined, equals;
};

static const char *option_value(const struct appid_process *p, const struct lookup *o, bool *failed)
{
	size_t n = strlen(o->name);

	for (unsigned i = 0; i < p->args->argc; i++) {
		const char *s = arg(p, i);

		if (strncmp(s, o->name, n) != 0)
			continue;
		if (!s[n] && i + 1 == p->args->argc) {
			*failed = true;
			return NULL;
		}
		if (!s[n])
			return arg(p, i + 1)[0] ? arg(p, i + 1) : NULL;
		if (o->equals && s[n] == '=')
			return s[n + 1] ? s + n + 1 : NULL;
		if (o->joined)
			return s + n;
	}
	return NULL;
}

/* The first of several options that has a value. */
static const char *first_value(
	const struct appid_process *p, const struct lookup *options, size_t n, bool *failed)
{
	const char *value = NULL;

	for (size_t i = 0; i < n && !value && !*failed; i++)
		value = option_value(p, &options[i], failed);
	return value;
}

static int gunicorn_spec(const struct appid_config *config, const struct appid_process *p,
	const char *spec, struct buf *ret)
{
	char path[PATH_MAX];

	module_path_of(config, p, spec, strcspn(spec, ":"), path);
	buf_printf(ret, "gunicorn: %s (%s)", spec, path);
	return found(ret);
}

/* The title it gives itself, and nothing else: "gunicorn: worker [my.wsgi:app]". */
static int gunicorn_title(
	const struct appid_config *config, const struct appid_process *p, struct buf *ret)
{
	static const char *const titles[] = {"gunicorn: master [", "gunicorn: worker ["};
	_cleanup_free_ char *spec = NULL;
	const char *s = NULL, *end;

	for (size_t i = 0; i < ARRAY_SIZE(titles); i++)
		if (starts_with(arg(p, 0), titles[i]))
			s = arg(p, 0) + strlen(titles[i]);
	for (unsigned i = 1; i < p->args->argc; i++)
		if (arg(p, i)[0])
			return -ENOENT;
	end = s ? strrchr(s, ']') : NULL;
	if (!end || end == s)
		return -ENOENT;
	spec = strndup(s, (size_t)(end - s));
	return spec ? gunicorn_spec(config, p, spec, ret) : -ENOMEM;
}

/* The first argument with a colon that is no option's operand ("-b 0.0.0.0:80"). */
static const char *wsgi_app(const struct appid_process *p, const char *allowed)
{
	for (unsigned i = 1; i < p->args->argc; i++) {
		const char *before = arg(p, i - 1);

		if (strchr(arg(p, i), ':') &&
			(before[0] != '-' || (allowed && !strcmp(before, allowed))))
			return arg(p, i);
	}
	return NULL;
}

static int gunicorn(
	const struct appid_config *config, const struct appid_process *p, struct buf *ret)
{
	const char *app;

	if (!is_program(p, 0, "gunicorn") && !is_program(p, 1, "gunicorn"))
		return -ENOENT;
	app = wsgi_app(p, NULL);
	if (app)
		return gunicorn_spec(config, p, app, ret);
	buf_append_str(ret, "gunicorn: unknown app name (unknown app name)");
	return found(ret);
}

static int uvicorn(
	const struct appid_config *config, const struct appid_process *p, struct buf *ret)
{
	const char *app;
	char path[PATH_MAX];

	if (!is_program(p, 0, "uvicorn") && !is_program(p, 1, "uvicorn"))
		return -ENOENT;
	app = wsgi_app(p, "--factory");
	if (app) {
		module_path_of(config, p, app, strcspn(app, ":"), path);
		buf_printf(ret, "uvicorn: %s (%s)", app, path);
	} else {
		buf_append_str(ret, "uvicorn: unknown app name (unknown app name)");
	}
	return found(ret);
}

static char *trim(char *s)
{
	char *end;

	s += strspn(s, " \t\r");
	end = s + strlen(s);
	while (end > s && strchr(" \t\r", end[-1]))
		*--end = 0;
	return s;
}

bool appid_ini_value(const char *text, const char *section, const char *key, char *ret, size_t size)
{
	bool inside = !section, any = false;
	char line[PATH_MAX];

	for (const char *end; *text; text = *end ? end + 1 : end) {
		size_t len = strcspn(text, "\n"), n = MIN(len, sizeof(line) - 1);
		char *s, *value;

		end = text + len;
		memcpy(line, text, n);
		line[n] = 0;
		s = trim(line);
		if (*s == '#' || *s == ';')
			continue;
		if (*s == '[' && section) {
			s[strcspn(s, "]")] = 0;
			inside = strcmp(s + 1, section) == 0;
			continue;
		}
		value = s + strcspn(s, section ? "=:" : "=: \t");
		if (!inside || !*value)
			continue;
		*value++ = 0;
		s = trim(s);
		value += section ? 0 : strspn(value, "=: \t");
		value = trim(value);
		// The last one counts, as with the reference's tolerant parser.
		if (strcasecmp(s, key) == 0 && strlen(value) < size) {
			memcpy(ret, value, strlen(value) + 1);
			any = true;
		}
	}
	return any;
}

/* The INI file that uwsgi was given: by an option, or as the one bare argument of that name. */
static const char *uwsgi_ini(const struct appid_process *p, bool *failed)
{
	static const struct lookup options[] = {
		{"--ini", .equals = true},
		{"--ini-paste", .equals = true},
		{"--ini-paste-logged", .equals = true},
	};
	const char *ini = first_value(p, options, ARRAY_SIZE(options), failed);
	unsigned bare = 0;

	for (unsigned i = 1; !ini && i < p->args->argc; i++)
		bare += ends_with(arg(p, i), ".ini");
	for (unsigned i = 1; bare == 1 && !ini && i < p->args->argc; i++)
		if (ends_with(arg(p, i), ".ini"))
			ini = arg(p, i);
	return ini;
}

static int uwsgi_file(const struct appid_config *config, const struct appid_process *p,
	const char *ini, struct buf *ret)
{
	_cleanup_buf_ struct buf text = BUF_INIT(INI_MAX);
	char path[PATH_MAX], module[PATH_MAX];

	appid_path(config, p, ini, path);
	if (process_root_read(config->proc, p->pid, path, &text))
		return -ENOENT;
	if (!appid_ini_value(buf_str(&text), "uwsgi", "module", module, sizeof(module))) {
		buf_printf(ret, "uwsgi: %s", ini);
		return found(ret);
	}
	// The reference's parser takes a percent sign for the beginning of something else.
	if (strchr(module, '%'))
		return -ENOENT;
	module_path_of(config, p, module, strlen(module), path);
	buf_printf(ret, "uwsgi: %s (%s)", ini, path);
	return found(ret);
}

static int uwsgi(const struct appid_config *config, const struct appid_process *p, struct buf *ret)
{
	static const struct lookup options[] = {
		{"-w", .joined = false}, {"--wsgi-file", .equals = true}};
	const char *wsgi, *ini;
	char path[PATH_MAX];
	bool failed = false;

	if (!is_program(p, 0, "uwsgi"))
		return -ENOENT;
	wsgi = first_value(p, options, ARRAY_SIZE(options), &failed);
	if (failed)
		return -ENOENT;
	if (wsgi) {
		module_path_of(config, p, wsgi, strlen(wsgi), path);
		buf_printf(ret, "uwsgi: %s (%s)", wsgi, path);
		return found(ret);
	}
	ini = uwsgi_ini(p, &failed);
	if (failed)
		return -ENOENT;
	if (ini)
		return uwsgi_file(config, p, ini, ret);
	buf_append_str(ret, "uwsgi: ini file / wsgi module not found");
	return found(ret);
}

static int celery(const struct appid_config *config, const struct appid_process *p, struct buf *ret)
{
	static const struct lookup apps[] = {{"-A", .joined = true}, {"--app", .equals = true}};
	static const struct lookup queues[] = {
		{"-Q", .joined = true}, {"--queues", .equals = true}};
	bool failed = false, module = appid_python_name(arg(p, 0)) && !strcmp(arg(p, 1), "-m") &&
				      !strcmp(arg(p, 2), "celery");
	const char *value;
	char path[PATH_MAX];

	if (!module && !is_program(p, 0, "celery") && !is_program(p, 1, "celery"))
		return -ENOENT;
	value = first_value(p, apps, ARRAY_SIZE(apps), &failed);
	if (value) {
		module_path_of(config, p, value, strlen(value), path);
		buf_printf(ret, "celery: %s (%s)", value, path);
		return found(ret);
	}
	if (!failed)
		value = first_value(p, queues, ARRAY_SIZE(queues), &failed);
	if (!value)
		return -ENOENT;
	buf_printf(ret, "celery queue: %s (%s)", value, p->args->cwd);
	return found(ret);
}

static int pyspark(
	const struct appid_config *config, const struct appid_process *p, struct buf *ret)
{
	(void)config;
	if (!starts_with(fs_basename(arg(p, 0)), "python") || strcmp(arg(p, 1), "-m") != 0 ||
		strcmp(arg(p, 2), "pyspark.daemon") != 0)
		return -ENOENT;
	buf_append_str(ret, "pyspark");
	return found(ret);
}

static int python(const struct appid_config *config, const struct appid_process *p, struct buf *ret)
{
	static const struct lookup module = {.name = "-m"};
	const char *value;
	char path[PATH_MAX];
	bool failed = false;

	if (!appid_python_name(arg(p, 0)))
		return -ENOENT;
	value = option_value(p, &module, &failed);
	if (value) {
		buf_printf(ret, "python: -m %s", value);
		return found(ret);
	}
	if (failed || !ends_with(arg(p, 1), ".py"))
		return -ENOENT;
	appid_path(config, p, arg(p, 1), path);
	buf_printf(ret, "python: %s (%s)", arg(p, 1), path);
	return found(ret);
}

/* The script: the first argument of that ending which is not what an option loads before it. */
struct script_rule {
	const char *name, *ending;
	const char *operand[2]; // options with an operand, NULL none
	const char *prefix; // options that carry it themselves
};

static int script(const struct appid_config *config, const struct appid_process *p,
	const struct script_rule *rule, struct buf *ret)
{
	char path[PATH_MAX];

	for (unsigned i = 1; i < p->args->argc; i++) {
		const char *s = arg(p, i);
		bool operand = false;

		for (size_t k = 0; k < ARRAY_SIZE(rule->operand) && rule->operand[k]; k++)
			operand = operand || !strcmp(s, rule->operand[k]);
		if (operand) {
			i++;
			continue;
		}
		if (!ends_with(s, rule->ending) || starts_with(s, rule->prefix))
			continue;
		appid_path(config, p, s, path);
		buf_printf(ret, "%s: %s (%s)", rule->name, s, path);
		return found(ret);
	}
	return -ENOENT;
}

static int node(const struct appid_config *config, const struct appid_process *p, struct buf *ret)
{
	static const struct script_rule rule = {
		.name = "nodejs",
		.ending = ".js",
		.operand = {"-r", "--require"},
		.prefix = "--require=",
	};

	return script(config, p, &rule, ret);
}

static int ruby(const struct appid_config *config, const struct appid_process *p, struct buf *ret)
{
	static const struct script_rule rule = {
		.name = "ruby",
		.ending = ".rb",
		.operand = {"-r"},
		.prefix = "-r",
	};

	return script(config, p, &rule, ret);
}

int appid_find(const struct appid_config *config, const struct appid_process *p, struct buf *ret)
{
	static const struct {
		enum appid_runtime runtime;
		rule_fn rule;
	} rules[] = {
		{APPID_PYTHON, gunicorn_title},
		{APPID_PYTHON, gunicorn},
		{APPID_PYTHON, uvicorn},
		{APPID_PYTHON, uwsgi},
		{APPID_PYTHON, celery},
		{APPID_PYTHON, pyspark},
		{APPID_PYTHON, python},
		{APPID_NODE, node},
		{APPID_RUBY, ruby},
		{APPID_JAVA, appid_java},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		int r = p->runtimes & rules[i].runtime ? rules[i].rule(config, p, ret) : -ENOENT;

		if (r != -ENOENT)
			return r;
	}
	return -ENOENT;
}

int appid_filter_compile(const char *pattern, regex_t *ret)
{
	_cleanup_buf_ struct buf text = BUF_INIT(65536);
	int r;

	for (const char *s = pattern; *s; s++) {
		if (s[0] == '\\' && s[1] == 'd') {
			buf_append_str(&text, "[0-9]");
			s++;
			continue;
		}
		buf_append_char(&text, *s);
		if (s[0] == '\\' && s[1])
			buf_append_char(&text, *++s);
	}
	if (text.bad)
		return -ENOMEM;
	r = regcomp(ret, buf_str(&text), REG_EXTENDED | REG_NOSUB);
	return r == REG_ESPACE ? -ENOMEM : r ? -EINVAL : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Application ids: every rule of gprofiler-agent.md 3.6 with the vectors of the reference's own test
 * (section 6, test_appids.py), on a fixture of /proc; and /tmp/hsperfdata files. */
#include "tests/scratch.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "process/appid.h"
#include "process/hsperf.h"
#include "process/root.h"

#define CWD "/my/dir"
#define PID 7
#define ARGS_MAX 12

struct fixture {
	char proc[SCRATCH_DIR];
	struct arguments args;
};

static void put(const struct fixture *f, const char *path, const char *text)
{
	char whole[256];

	snprintf(whole, sizeof(whole), "fs%s", path);
	scratch_put(f->proc, whole, text);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[256];

	assert_non_null(f);
	scratch_begin(f->proc, "appid");
	arguments_init(&f->args);
	snprintf(f->args.cwd, sizeof(f->args.cwd), CWD);
	*state = f;
	snprintf(path, sizeof(path), "%s/fs/my/dir", f->proc);
	assert_ok(fs_mkdir_p(path, 0755));
	// The root of a process that changed it.
	scratch_rooted(f->proc, PID);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	scratch_end(f->proc);
	arguments_deinit(&f->args);
	free(f);
	return 0;
}

struct vector {
	const char *args[ARGS_MAX];
	const char *appid; // NULL: none
};

static void check(struct fixture *f, const struct vector *v, const struct appid_config *config,
	unsigned runtimes)
{
	_cleanup_buf_ struct buf ret = BUF_INIT(APPID_MAX);
	struct appid_process p = {.pid = PID, .runtimes = runtimes, .args = &f->args};
	int r;

	buf_clear(&f->args.text);
	for (unsigned i = 0; i < ARGS_MAX && v->args[i]; i++)
		buf_append(&f->args.text, v->args[i], strlen(v->args[i]) + 1);
	arguments_split(&f->args);
	r = appid_find(config, &p, &ret);
	if (!v->appid) {
		if (r != -ENOENT)
			fail_msg("%s ...: %s, expected none", v->args[0], buf_str(&ret));
		return;
	}
	assert_ok(r);
	assert_string_equal(buf_str(&ret), v->appid);
}

static void check_all(struct fixture *f, const struct vector *v, size_t n, unsigned runtimes)
{
	const struct appid_config config = {.proc = f->proc};

	for (size_t i = 0; i < n; i++)
		check(f, &v[i], &config, runtimes);
}

static void appid__gunicorn(void **state)
{
	static const struct vector v[] = {
		{{"gunicorn", "a", "b", "my.wsgi:app"},
			"gunicorn: my.wsgi:app (/my/dir/my/wsgi.py)"},
		{{"/usr/bin/gunicorn", "my.wsgi:app"},
			"gunicorn: my.wsgi:app (/my/dir/my/wsgi.py)"},
		{{"python", "/bin/gunicorn", "my.wsgi:app"},
			"gunicorn: my.wsgi:app (/my/dir/my/wsgi.py)"},
		{{"gunicorn", "-b", "0.0.0.0:80", "my.wsgi:app"},
			"gunicorn: my.wsgi:app (/my/dir/my/wsgi.py)"},
		{{"gunicorn", "/srv/app.py:app"}, "gunicorn: /srv/app.py:app (/srv/app.py)"},
		{{"gunicorn", "nothing"}, "gunicorn: unknown app name (unknown app name)"},
		{{"gunicorn: master [my.wsgi:app]"}, "gunicorn: my.wsgi:app (/my/dir/my/wsgi.py)"},
		{{"gunicorn: worker [my.wsgi:app]", "", ""},
			"gunicorn: my.wsgi:app (/my/dir/my/wsgi.py)"},
		{{"gunicorn: worker [my.wsgi:app]", "more"}, NULL},
		{{"gunicorn: worker []"}, NULL},
		{{"gunicorn: worker ["}, NULL},
	};

	check_all(*state, v, ARRAY_SIZE(v), APPID_PYTHON);
}

static void appid__uvicorn(void **state)
{
	static const struct vector v[] = {
		{{"uvicorn", "a", "my.asgi:app"}, "uvicorn: my.asgi:app (/my/dir/my/asgi.py)"},
		{{"python3.9", "/bin/uvicorn", "my.asgi:app"},
			"uvicorn: my.asgi:app (/my/dir/my/asgi.py)"},
		{{"uvicorn", "--factory", "my.asgi:app"},
			"uvicorn: my.asgi:app (/my/dir/my/asgi.py)"},
		{{"uvicorn", "--host", "::1", "my.asgi:app"},
			"uvicorn: my.asgi:app (/my/dir/my/asgi.py)"},
	};

	check_all(*state, v, ARRAY_SIZE(v), APPID_PYTHON);
}

static void appid__uwsgi(void **state)
{
	static const struct vector v[] = {
		{{"uwsgi", "a", "-w", "my.wsgi"}, "uwsgi: my.wsgi (/my/dir/my/wsgi.py)"},
		{{"uwsgi", "--wsgi-file", "my/wsgi.py"}, "uwsgi: my/wsgi.py (/my/dir/my/wsgi.py)"},
		{{"/bin/uwsgi", "--wsgi-file=/path/wsgi.py"},
			"uwsgi: /path/wsgi.py (/path/wsgi.py)"},
		{{"uwsgi", "my.ini"}, "uwsgi: my.ini (/my/dir/my/wsgi.py)"},
		{{"uwsgi", "--ini", "my.ini"}, "uwsgi: my.ini (/my/dir/my/wsgi.py)"},
		{{"uwsgi", "--ini=my.ini"}, "uwsgi: my.ini (/my/dir/my/wsgi.py)"},
		{{"uwsgi", "--ini-paste", "my.ini"}, "uwsgi: my.ini (/my/dir/my/wsgi.py)"},
		{{"uwsgi", "--ini-paste-logged=my.ini"}, "uwsgi: my.ini (/my/dir/my/wsgi.py)"},
		{{"uwsgi", "bare.ini"}, "uwsgi: bare.ini"},
		{{"uwsgi", "percent.ini"}, NULL},
		{{"uwsgi", "absent.ini"}, NULL},
		{{"uwsgi", "a.ini", "b.ini"}, "uwsgi: ini file / wsgi module not found"},
		{{"uwsgi", "--http", ":80"}, "uwsgi: ini file / wsgi module not found"},
		{{"uwsgi", "-w"}, NULL},
	};

	put(*state, CWD "/my.ini",
		"# a comment\n[other]\nmodule = no.one\n[uwsgi]\nhttp=:80\nmodule=first\nMODULE : my.wsgi\n");
	put(*state, CWD "/bare.ini", "[uwsgi]\nhttp = :80\n[uwsgi-more]\nmodule = x\n");
	put(*state, CWD "/percent.ini", "[uwsgi]\nmodule = %n.wsgi\n");
	check_all(*state, v, ARRAY_SIZE(v), APPID_PYTHON);
}

static void appid__celery(void **state)
{
	static const struct vector v[] = {
		{{"celery", "a", "-A", "app1"}, "celery: app1 (/my/dir/app1.py)"},
		{{"celery", "-Aapp1"}, "celery: app1 (/my/dir/app1.py)"},
		{{"celery", "--app", "/path/to/app1"}, "celery: /path/to/app1 (/path/to/app1.py)"},
		{{"celery", "--app=a.b"}, "celery: a.b (/my/dir/a/b.py)"},
		{{"python", "/bin/celery", "-A", "app1"}, "celery: app1 (/my/dir/app1.py)"},
		{{"python3", "-m", "celery", "-A", "app1"}, "celery: app1 (/my/dir/app1.py)"},
		{{"celery", "-Q", "q"}, "celery queue: q (/my/dir)"},
		{{"celery", "-Qq"}, "celery queue: q (/my/dir)"},
		{{"celery", "--queues", "q1,q2"}, "celery queue: q1,q2 (/my/dir)"},
		{{"celery", "--queues=q"}, "celery queue: q (/my/dir)"},
		{{"celery", "-A", "", "-Q", "q"}, "celery queue: q (/my/dir)"},
		{{"celery", "worker"}, NULL},
		{{"celery", "-A"}, NULL},
		{{"python3", "-m", "celery", "worker"}, "python: -m celery"},
	};

	check_all(*state, v, ARRAY_SIZE(v), APPID_PYTHON);
}

static void appid__python(void **state)
{
	static const struct vector v[] = {
		{{"python", "-m", "pyspark.daemon"}, "pyspark"},
		{{"python3.8", "-m", "pyspark.daemon", "x"}, "pyspark"},
		{{"python", "-m", "myapp"}, "python: -m myapp"},
		{{"python", "-u", "-m", "myapp"}, "python: -m myapp"},
		{{"/usr/bin/python3.12", "app.py"}, "python: app.py (/my/dir/app.py)"},
		{{"python2", "/srv/app.py", "x"}, "python: /srv/app.py (/srv/app.py)"},
		{{"python2.7", "../app.py"}, "python: ../app.py (/my/app.py)"},
		{{"python", "-u", "app.py"}, NULL},
		{{"python", "app"}, NULL},
		{{"python", "app.py", "-m"}, NULL},
		{{"python3.123", "app.py"}, NULL},
		{{"python4", "app.py"}, NULL},
		{{"pythonista", "app.py"}, NULL},
		{{"shmython", "app.py"}, NULL},
		{{"python"}, NULL},
		{{""}, NULL},
	};

	check_all(*state, v, ARRAY_SIZE(v), APPID_PYTHON);
	// No rule of an interpreter that it does not run.
	check_all(*state, (const struct vector[]){{{"python", "-m", "x"}, NULL}}, 1, APPID_NODE);
	assert_true(appid_python_name("/opt/python3.1"));
	assert_false(appid_python_name("/opt/python3."));
	assert_false(appid_python_name("/opt/python3/x"));
}

static void appid__node(void **state)
{
	static const struct vector v[] = {
		{{"node", "/path/to/fib.js"}, "nodejs: /path/to/fib.js (/path/to/fib.js)"},
		{{"node", "fib.js"}, "nodejs: fib.js (/my/dir/fib.js)"},
		{{"node", "-r", "pre.js", "fib.js", "b.js"}, "nodejs: fib.js (/my/dir/fib.js)"},
		{{"node", "--require", "pre.js", "fib.js"}, "nodejs: fib.js (/my/dir/fib.js)"},
		{{"node", "--require=pre.js", "fib.js"}, "nodejs: fib.js (/my/dir/fib.js)"},
		{{"node", "-r"}, NULL},
		{{"node", "server"}, NULL},
		{{"a.js"}, NULL},
	};

	check_all(*state, v, ARRAY_SIZE(v), APPID_NODE);
}

static void appid__ruby(void **state)
{
	static const struct vector v[] = {
		{{"ruby", "fib.rb"}, "ruby: fib.rb (/my/dir/fib.rb)"},
		{{"ruby", "-r", "pre.rb", "fib.rb"}, "ruby: fib.rb (/my/dir/fib.rb)"},
		{{"ruby", "-rpre.rb", "/srv/fib.rb"}, "ruby: /srv/fib.rb (/srv/fib.rb)"},
		{{"ruby", "x"}, NULL},
	};

	check_all(*state, v, ARRAY_SIZE(v), APPID_RUBY);
}

static void appid__java(void **state)
{
	static const struct vector v[] = {
		{{"java", "-jar", "Fibonacci.jar", "x"}, "java: Fibonacci.jar"},
		{{"/opt/java", "-Xmx1g", "-cp", "a:b", "com.x.Main", "-jar", "y"},
			"java: com.x.Main"},
		{{"java", "--add-opens", "java.base/a=ALL", "Main"}, "java: Main"},
		{{"java", "-p", "mods", "-m", "m/com.x.Main"}, "java: m/com.x.Main"},
		{{"java", "-jar", "my app.jar"}, "java: my"},
		{{"java", "-version"}, NULL},
		{{"java", "-cp"}, NULL},
	};

	check_all(*state, v, ARRAY_SIZE(v), APPID_JAVA);
}

static void appid__java_filters_and_spark(void **state)
{
	struct fixture *f = *state;
	regex_t filters[2];
	const struct appid_config config = {
		.proc = f->proc, .filters = filters, .nfilters = 2, .spark = true};
	static const struct vector v[] = {
		{{"java", "-Dapp.name=a", "-Dx=1", "-Dport=80", "-cp", "z", "Main", "-Dapp.name=b"},
			"java: Main (-Dapp.name=a -Dport=80)"},
		{{"java", "-Dx=1", "Main"}, "java: Main"},
		{{"java", "org.apache.spark.executor.Yarn"},
			"java: org.apache.spark.executor.Yarn, spark: my app"},
	};
	static const struct vector none = {{"java", "org.apache.spark.executor.Yarn"},
		"java: org.apache.spark.executor.Yarn, app name not found"};

	assert_ok(appid_filter_compile("app\\.name", &filters[0]));
	assert_ok(appid_filter_compile("^-Dport=\\d+$", &filters[1]));
	check(f, &none, &config, APPID_JAVA);
	put(f, CWD "/__spark_conf__/__spark_conf__.properties",
		"#x\nspark.app.id=1\nspark.app.name=my app\n");
	for (size_t i = 0; i < ARRAY_SIZE(v); i++)
		check(f, &v[i], &config, APPID_JAVA);
	assert_int_equal(appid_filter_compile("(", &(regex_t){0}), -EINVAL);
	regfree(&filters[0]);
	regfree(&filters[1]);
}

static void appid__names_are_resolved_inside_the_root(void **state)
{
	struct fixture *f = *state;
	char path[256], name[PATH_MAX];
	static const struct vector v[] = {
		{{"python", "link.py"}, "python: link.py (/srv/real.py)"},
		{{"python", "../../../../etc/out.py"},
			"python: ../../../../etc/out.py (/etc/out.py)"},
	};

	put(f, "/srv/real.py", "");
	snprintf(path, sizeof(path), "%s/fs/my/dir/link.py", f->proc);
	assert_ok(symlink("/srv/real.py", path));
	snprintf(path, sizeof(path), "%s/fs/my/dir/out.py", f->proc);
	assert_ok(symlink("../../../../../../etc/hostname", path));
	check_all(f, v, ARRAY_SIZE(v), APPID_PYTHON);
	process_root_resolve(f->proc, PID, "/my/dir/link.py", name);
	assert_string_equal(name, "/srv/real.py");
	// A link that leads out of the root ends at the root, where there is no such file.
	assert_int_equal(process_root_open(f->proc, PID, "/my/dir/out.py"), -ENOENT);
	process_root_resolve(f->proc, PID, "//a/./b/../../../c/", name);
	assert_string_equal(name, "/c");
}

static void appid__a_title_of_any_bytes(void **state)
{
	struct fixture *f = *state;
	struct arguments *a = &f->args;

	buf_clear(&a->text);
	arguments_split(a);
	assert_int_equal(a->argc, 0);
	assert_string_equal(argument(a, 0), "");
	buf_append(&a->text, "a\0\0b", 4); // no NUL at its end
	arguments_split(a);
	assert_int_equal(a->argc, 3);
	assert_string_equal(a->argv[2], "b");
	buf_clear(&a->text);
	for (unsigned i = 0; i < ARGUMENTS_MAX + 5; i++)
		buf_append(&a->text, "x", 2);
	arguments_split(a);
	assert_int_equal(a->argc, ARGUMENTS_MAX);
}

static void appid__hsperf(void **state)
{
	uint8_t file[512] = "\xca\xfe\xc0\xc0\x01\x02";
	static const struct {
		const char *name, *text;
	} entries[] = {{"sun.rt.javaCommand", "Main a b"}, {"java.property.java.version", "17.0.9"},
		{"unknown", "x"}};
	static struct hsperf h;
	uint32_t at = 32, n;

	(void)state;
	memcpy(file + 24, &at, 4);
	n = ARRAY_SIZE(entries);
	memcpy(file + 28, &n, 4);
	for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
		uint32_t name = 20, data = 60, len = (uint32_t)strlen(entries[i].text) + 1,
			 size = 100;

		memcpy(file + at, &size, 4);
		memcpy(file + at + 4, &name, 4);
		memcpy(file + at + 8, &len, 4);
		file[at + 12] = 'B';
		memcpy(file + at + 16, &data, 4);
		memcpy(file + at + name, entries[i].name, strlen(entries[i].name) + 1);
		memcpy(file + at + data, entries[i].text, len);
		at += size;
	}
	assert_ok(hsperf_parse(file, at, &h));
	assert_string_equal(h.command, "Main a b");
	assert_string_equal(h.version, "17.0.9");
	assert_string_equal(h.vm_name, "");
	assert_int_equal(hsperf_parse(file, at - 1, &h), -EINVAL);
	file[4] = 0;
	assert_int_equal(hsperf_parse(file, at, &h), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		CASE(appid__gunicorn),
		CASE(appid__uvicorn),
		CASE(appid__uwsgi),
		CASE(appid__celery),
		CASE(appid__python),
		CASE(appid__node),
		CASE(appid__ruby),
		CASE(appid__java),
		CASE(appid__java_filters_and_spark),
		CASE(appid__names_are_resolved_inside_the_root),
		CASE(appid__a_title_of_any_bytes),
		CASE(appid__hsperf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

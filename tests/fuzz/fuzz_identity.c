/* SPDX-License-Identifier: Apache-2.0 */
/* What a target says of itself (arguments, INI files, hsperfdata, build information) and what container
 * runtimes write: the first byte chooses the reader. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "agent/java_flags.h"
#include "agent/other_agent.h"
#include "agent/program_file.h"
#include "agent/system_facts.h"
#include "agent/usage.h"
#include "delivery/cloud.h"
#include "delivery/metrics.h"
#include "process/appid.h"
#include "process/container.h"
#include "process/hsperf.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void arguments(const char *data, size_t len)
{
	const struct appid_config config = {.proc = "/nonexistent", .spark = true};
	_cleanup_buf_ struct buf appid = BUF_INIT(APPID_MAX);
	static struct arguments a;
	static struct java_options options;
	struct appid_process p = {.pid = 1, .args = &a, .runtimes = 0xf};
	json_t *flags;

	arguments_init(&a);
	memcpy(a.cwd, "/c", 3);
	if (buf_append(&a.text, data, len) == 0) {
		arguments_split(&a);
		if (appid_find(&config, &p, &appid) == 0 && !appid.len)
			abort();
		for (p.runtimes = 1; p.runtimes < 16; p.runtimes <<= 1) {
			buf_clear(&appid);
			appid_find(&config, &p, &appid);
		}
		java_options_init(&options);
		if (java_options_read(&options, "/nonexistent", 1, &a) == 0 &&
			java_options_file(&options, buf_str(&a.text)) == 0 &&
			java_options_variable(&options, buf_str(&a.text), true) == 0) {
			flags = java_flags(&options, "default");
			json_decref(flags);
		}
		java_options_deinit(&options);
	}
	arguments_deinit(&a);
}

static void texts(const char *data, size_t len)
{
	char value[64], *text = strndup(data, len), *second, version[64], host[256], port[8];
	uint64_t busy, total;
	double percent;
	struct container c;

	if (!text)
		return;
	json_decref(cloud_aws(text, text));
	json_decref(cloud_gcp(text));
	json_decref(cloud_azure(text));
	json_decref(cloud_fargate(text, text, NULL));
	usage_parse_stat(text, &busy, &total);
	if (usage_parse_meminfo(text, &percent) && !(percent >= 0 && percent <= 100))
		abort();
	system_glibc_banner(data, len, version);
	metrics_parse_url(text, host, port);
	other_agent_parse(text, "lock");
	appid_ini_value(text, "uwsgi", "module", value, sizeof(value));
	appid_ini_value(text, NULL, "spark.app.name", value, sizeof(value));
	second = strchr(text, '\n');
	if (second) {
		*second++ = 0;
		if (container_from_log_link(text, second, ID, &c) == 0 &&
			strncmp(c.name, "k8s_", 4) != 0)
			abort();
	}
	free(text);
}

static void json(const char *data, size_t len)
{
	json_t *j = json_loadb(data, len, JSON_DECODE_ANY, NULL);
	struct container c;

	if (container_from_docker(j, &c) == 0 && (!c.name[0] || !container_is_id(c.id)))
		abort();
	if (container_from_oci(j, ID, &c) == 0 && !c.name[0])
		abort();
	container_from_storage(j, ID, &c);
	json_decref(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct hsperf h;
	char version[PROGRAM_TEXT_MAX], node[32];

	if (!len)
		return 0;
	switch (data[0] % 4) {
	case 0:
		arguments((const char *)data + 1, len - 1);
		break;
	case 1:
		texts((const char *)data + 1, len - 1);
		break;
	case 2:
		json((const char *)data + 1, len - 1);
		break;
	default:
		hsperf_parse(data + 1, len - 1, &h);
		program_go_inline(data + 1, len - 1, version);
		program_node_scan(data + 1, len - 1, node);
		break;
	}
	return 0;
}

static int put(struct buf *out, char reader, const char *data, size_t len)
{
	buf_append_char(out, reader);
	return buf_append(out, data, len);
}

static int put_text(struct buf *out, const char *text)
{
	return put(out, 1, text, strlen(text));
}

int fuzz_seed(unsigned n, struct buf *out)
{
	static const char *const arguments_of[] = {"gunicorn: worker [my.wsgi:app]", "gunicorn",
		"uwsgi --ini x", "java -XX:+UseG1GC -cp a -jar", "celery -A", "node -r a.js b.js"};
	static const char java[] =
		"-XX:+A \"-Xmx1 g\" '-b\\n' #c\n\\\n -XX:S=1k -cp x @f Main -XX:T=2";
	static const char hsperf[] =
		"\xca\xfe\xc0\xc0\x01\x02\0\x01\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
		"\x20\0\0\0\x01\0\0\0"
		"\x40\0\0\0\x14\0\0\0\x05\0\0\0B\0\0\0\x28\0\0\0"
		"sun.rt.javaCommand\0\0Main\0";
	static const char go[] =
		"\xff Go buildinf:\x08\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x06go1.22";

	if (n < 6) {
		size_t before = out->len;

		put(out, 0, arguments_of[n], strlen(arguments_of[n]) + 1);
		for (size_t i = before; n && i < out->len; i++)
			if (out->data[i] == ' ')
				out->data[i] = 0;
		return 0;
	}
	switch (n) {
	case 6:
		return put_text(out, "[uwsgi]\nmodule = a\nspark.app.name=x\n");
	case 7: {
		static const char link[] = "p_n_c-" ID ".log\n/var/log/pods/n_p_u/c/1.log";

		return put(out, 1, link, sizeof(link) - 1);
	}
	case 8: {
		static const char j[] =
			"{\"Id\": \"" ID "\", \"Names\": [\"/a\"], \"Labels\": {\"app\": "
			"\"x\", \"io.kubernetes.pod.name\": \"p\"}}";

		return put(out, 2, j, sizeof(j) - 1);
	}
	case 9: {
		static const char j[] =
			"{\"annotations\": {\"io.kubernetes.cri-o.Name\": \"k8s_a\", "
			"\"io.kubernetes.cri-o.Labels\": \"{}\"}}";

		return put(out, 2, j, sizeof(j) - 1);
	}
	case 10: {
		static const char j[] = "[{\"id\": \"" ID "\", \"names\": [\"a\"]}]";

		return put(out, 2, j, sizeof(j) - 1);
	}
	case 11:
		return put(out, 3, hsperf, sizeof(hsperf) - 1);
	case 12:
		return put(out, 3, go, sizeof(go) - 1);
	case 13:
		return put(out, 3, "x node.js/v18.19.0\0y", 19);
	case 14:
		return put_text(out, "{\"instanceId\": \"i\", \"vmId\": \"v\", \"machineType\": "
				     "\"a/b\", \"id\": 7}");
	case 15:
		return put_text(out, "tcp://[::1]:99");
	case 16:
		return put_text(out, "cpu  1 2 3 4 5 6 7 8\nMemTotal: 5 kB\nMemAvailable: 2 kB\n");
	case 17:
		return put_text(
			out, "GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.");
	case 18:
		return put_text(out, "Num       RefCount Protocol Flags    Type St Inode Path\n"
				     "0: 00000002 00000000 00010000 0001 01 42 @@lock\n");
	case 19:
		return put(out, 0, java, sizeof(java) - 1);
	default:
		return -1;
	}
}

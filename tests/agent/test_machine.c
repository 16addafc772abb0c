/* SPDX-License-Identifier: Apache-2.0 */
/* What headers say of the machine: answers of clouds, versions of C libraries, use of CPU and memory,
 * the external metadata file; and the lines of metrics. Real clouds are asked in test_machine.py. */
#include "tests/harness.h"

#include <errno.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

#include "agent/diagnostics.h"
#include "agent/external_metadata.h"
#include "agent/hw_metrics.h"
#include "agent/java_flags.h"
#include "agent/program_file.h"
#include "agent/system_facts.h"
#include "agent/usage.h"
#include "base/clock.h"
#include "base/sha1.h"
#include "delivery/cloud.h"
#include "delivery/metrics.h"
#include "tests/scratch.h"

static void expect(json_t *o, const char *text)
{
	_cleanup_buf_ struct buf out = BUF_INIT(65536);

	assert_non_null(o);
	assert_ok(json_append(&out, o));
	assert_string_equal(buf_str(&out), text);
	json_decref(o);
}

static void machine__clouds(void **state)
{
	(void)state;
	expect(cloud_aws(
		       "{\"region\": \"us-east-1\", \"availabilityZone\": \"us-east-1b\", "
		       "\"instanceType\": \"m5.large\", \"accountId\": \"1\", \"imageId\": \"ami-1\", "
		       "\"instanceId\": \"i-1\"}",
		       "spot"),
		"{\"region\": \"us-east-1\", \"zone\": \"us-east-1b\", \"instance_type\": "
		"\"m5.large\", \"life_cycle\": \"spot\", \"account_id\": \"1\", \"image_id\": "
		"\"ami-1\", \"instance_id\": \"i-1\"}");
	expect(cloud_fargate("{\"ContainerARN\": \"arn:aws\"}", "AWS_ECS_FARGATE", "eu-west-1"),
		"{\"execution_env\": \"AWS_ECS_FARGATE\", \"region\": \"eu-west-1\", "
		"\"container_arn\": \"arn:aws\"}");
	expect(cloud_gcp(
		       "{\"id\": 4520031799277581759, \"zone\": \"projects/1/zones/us-c1-a\", "
		       "\"machineType\": \"projects/1/machineTypes/n1-standard-1\", \"preempted\": "
		       "\"FALSE\", \"scheduling\": {\"preemptible\": \"TRUE\"}, \"image\": \"img\", "
		       "\"name\": \"vm\"}"),
		"{\"zone\": \"us-c1-a\", \"instance_type\": \"n1-standard-1\", \"preempted\": false, "
		"\"preemptible\": true, \"instance_id\": \"4520031799277581759\", \"image_id\": "
		"\"img\", \"name\": \"vm\"}");
	expect(cloud_azure(
		       "{\"vmSize\": \"D2\", \"zone\": \"1\", \"location\": \"westus\", "
		       "\"subscriptionId\": \"s\", \"resourceGroupName\": \"g\", \"resourceId\": "
		       "\"/r\", \"vmId\": \"v\", \"name\": \"n\"}"),
		"{\"instance_type\": \"D2\", \"zone\": \"1\", \"region\": \"westus\", "
		"\"subscription_id\": \"s\", \"resource_group_name\": \"g\", \"resource_id\": \"/r\", "
		"\"instance_id\": \"v\", \"name\": \"n\", \"image_info\": null}");
	assert_null(cloud_aws("{\"region\": \"x\"}", NULL));
	assert_null(cloud_aws("nonsense", NULL));
	assert_null(cloud_gcp("[]"));
	assert_null(cloud_azure("{\"vmId\": 7}"));
	assert_null(cloud_fargate("", NULL, NULL));
}

static void machine__a_pod_is_named_as_its_host(void **state)
{
	struct scratch_host *h = *state;
	char name[SYSTEM_HOSTNAME_MAX], own[SYSTEM_HOSTNAME_MAX];

	assert_ok(gethostname(own, sizeof(own)));
	// The host's namespace, entered or our own: the file, which may be older, does not count.
	scratch_put(h->proc, "1/ns/uts", "");
	scratch_put(h->proc, "fs/etc/hostname", "# the node\n\n  node-7.example \nother\n");
	system_hostname(h->proc, name);
	assert_string_equal(name, own);
	// Two files are two namespaces.
	scratch_put(h->proc, "thread-self/ns/uts", "");
	system_hostname(h->proc, name);
	assert_string_equal(name, "node-7.example");
	// What is too long for a name is none, nor is a comment.
	scratch_put(h->proc, "fs/etc/hostname",
		"# x\n0123456789012345678901234567890123456789012345678901234567890123456789");
	system_hostname(h->proc, name);
	assert_string_equal(name, own);
	scratch_put(h->proc, "fs/etc/hostname", "");
	system_hostname(h->proc, name);
	assert_string_equal(name, own);
}

static void machine__libc(void **state)
{
	static const char debian[] =
		"x\0GNU C Library (Debian GLIBC 2.36-9+deb12u10) stable release "
		"version 2.36.\nCopyright",
			  plain[] =
				  "GNU C Library (GNU libc) stable release version 2.17, by Roland";
	char version[64];

	(void)state;
	assert_true(system_glibc_banner(debian, sizeof(debian), version));
	assert_string_equal(version, "2.36-9+deb12u10");
	assert_true(system_glibc_banner(plain, sizeof(plain), version));
	assert_string_equal(version, "2.17");
	assert_false(system_glibc_banner("GNU C Library (", 15, version));
	assert_false(system_glibc_banner("", 0, version));
}

static void machine__usage(void **state)
{
	struct usage u = {0};
	uint64_t busy, total;
	double percent;

	(void)state;
	assert_true(usage_parse_stat("cpu  10 1 5 80 4 0 1 0 3 0\ncpu0 1\n", &busy, &total));
	assert_int_equal(total, 101);
	assert_int_equal(busy, 17);
	assert_false(usage_parse_stat("cpu  10 1 5", &busy, &total));
	assert_false(usage_parse_stat("", &busy, &total));
	assert_true(usage_parse_meminfo(
		"MemTotal:       1000 kB\nMemAvailable:    250 kB\n", &percent));
	assert_true(percent > 74.9 && percent < 75.1);
	assert_false(usage_parse_meminfo("MemTotal: 0 kB\nMemAvailable: 0 kB\n", &percent));
	assert_false(usage_parse_meminfo("", &percent));
	// Memory is read every five seconds, not with each turn of the loop.
	usage_sample(&u, 1);
	usage_sample(&u, 5 * NSEC_PER_SEC);
	assert_int_equal(u.memory_count, 1);
	usage_sample(&u, 5 * NSEC_PER_SEC + 1);
	assert_int_equal(u.memory_count, 2);
}

static void machine__external_metadata(void **state)
{
	char path[] = "/tmp/test_machine.XXXXXX";
	static const char text[] = "{\"static\": {\"a\": 1}, \"application\": {\"7\": {\"b\": 2}, "
				   "\"8\": 3}}";
	struct external_metadata e;
	struct utimbuf old = {time(NULL) - 400, time(NULL) - 400};
	int fd = mkstemp(path);

	(void)state;
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_ok(external_metadata_init(&e, path));
	assert_int_equal(json_integer_value(json_object_get(e.fixed, "a")), 1);
	assert_non_null(external_metadata_of(&e, 7));
	assert_null(external_metadata_of(&e, 8));
	assert_null(external_metadata_of(&e, 9));
	// Old: left out; mended: there again; nonsense and gone: left out.
	assert_ok(utime(path, &old));
	external_metadata_refresh(&e);
	assert_null(external_metadata_of(&e, 7));
	assert_ok(utime(path, NULL));
	external_metadata_refresh(&e);
	assert_non_null(external_metadata_of(&e, 7));
	assert_ok(ftruncate(fd, 9));
	external_metadata_refresh(&e);
	assert_null(external_metadata_of(&e, 7));
	assert_ok(unlink(path));
	external_metadata_refresh(&e);
	assert_non_null(e.fixed);
	external_metadata_deinit(&e);
	assert_int_equal(external_metadata_init(&e, path), -ENOENT);
	assert_ok(external_metadata_init(&e, ""));
	assert_null(external_metadata_of(&e, 7));
	external_metadata_deinit(&e);
	close(fd);
}

static void machine__address_of_metrics(void **state)
{
	char host[256], port[8];

	(void)state;
	assert_ok(metrics_parse_url("tcp://h", host, port));
	assert_string_equal(port, "18126");
	assert_ok(metrics_parse_url("tcp://10.0.0.1:99", host, port));
	assert_string_equal(host, "10.0.0.1");
	assert_string_equal(port, "99");
	assert_ok(metrics_parse_url("tcp://[::1]:5", host, port));
	assert_string_equal(host, "::1");
	assert_int_equal(metrics_parse_url("http://h", host, port), -EINVAL);
	assert_int_equal(metrics_parse_url("tcp://", host, port), -EINVAL);
	assert_int_equal(metrics_parse_url("tcp://h:", host, port), -EINVAL);
	assert_int_equal(metrics_parse_url("tcp://h:0", host, port), -EINVAL);
	assert_int_equal(metrics_parse_url("tcp://h:70000", host, port), -EINVAL);
	assert_int_equal(metrics_parse_url("tcp://h/x", host, port), -EINVAL);
	assert_int_equal(metrics_parse_url("tcp://[::1", host, port), -EINVAL);
}

static void machine__tags_hold_no_blanks(void **state)
{
	_cleanup_buf_ struct buf line = BUF_INIT(256);

	(void)state;
	metrics_tag(&line, "error", "no route\nto host");
	metrics_tag(&line, "empty", "");
	assert_string_equal(buf_str(&line), " error=no_route_to_host empty=none");
	metrics_error(NULL, NULL);
	metrics_sli(NULL, "success", "x", NULL, NULL);
}

static void machine__files_of_programs(void **state)
{
	static const char go[] =
		"\xff Go buildinf:\x08\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x06go1.22";
	static const uint8_t node[] = "x node.js/v1 node.js/v18.19.0\0y";
	char version[PROGRAM_TEXT_MAX], of_node[32];
	uint8_t digest[SHA1_LEN];
	struct sha1 sha;

	(void)state;
	assert_ok(program_go_inline(go, sizeof(go) - 1, version));
	assert_string_equal(version, "go1.22");
	assert_int_equal(program_go_inline(go, sizeof(go) - 2, version), -ENOENT);
	assert_true(program_node_scan(node, sizeof(node), of_node));
	assert_string_equal(of_node, "v18.19.0");
	assert_false(program_node_scan(node, 20, of_node));
	// FIPS 180-4's own example, and one of a million bytes.
	sha1_init(&sha);
	sha1_update(&sha, "abc", 3);
	sha1_final(&sha, digest);
	assert_memory_equal(digest,
		"\xa9\x99\x3e\x36\x47\x06\x81\x6a\xba\x3e\x25\x71\x78\x50\xc2\x6c\x9c\xd0\xd8\x9d",
		20);
	sha1_init(&sha);
	for (unsigned i = 0; i < 100000; i++)
		sha1_update(&sha, "aaaaaaaaaa", 10);
	sha1_final(&sha, digest);
	assert_memory_equal(digest,
		"\x34\xaa\x97\x3c\xd4\xc4\xda\xa4\xf6\x1e\xeb\x2b\xdb\xad\x27\x31\x65\x34\x01\x6f",
		20);
}

static void machine__counters_and_lines(void **state)
{
	const struct hw_reading half = {100, 500, 200};
	struct hw_reading whole = {1000, 600, 300};
	struct profile_hw hw = {{4000, 8000, 100, 5, 1000, 10}};

	(void)state;
	expect(hw_metrics_json(&hw, 2000),
		"{\"cycles per second (in billions)\": \"2\", \"instructions per second (in billions)\": "
		"\"4\", \"CPI\": \"0.5\", \"IPC\": \"2\", \"cache miss ratio\": \"0.05\", "
		"\"branch misprediction ratio\": \"0.01\"}");
	assert_int_equal(hw_metrics_scale(&half, &whole), 900);
	assert_int_equal(hw_metrics_scale(&half, &half), 0);
	whole.running_ns = 250;
	assert_int_equal(hw_metrics_scale(&half, &whole), 1800);
	hw.counts[PROFILE_HW_CACHE_REFERENCES] = hw.counts[PROFILE_HW_BRANCHES] = 0;
	hw.counts[PROFILE_HW_CYCLES] = 0;
	expect(hw_metrics_json(&hw, 2000), "null");
	assert_int_equal(diagnostics_tail("a\nb\nc\n", 6, 2), 2);
	assert_int_equal(diagnostics_tail("a\nb\nc", 5, 1), 4);
	assert_int_equal(diagnostics_tail("a\nb\n", 4, 9), 0);
	assert_int_equal(diagnostics_tail("", 0, 1), 0);
	assert_int_equal(diagnostics_tail("\n\n\n", 3, 2), 1);
}

static void machine__flags_of_a_jvm(void **state)
{
	static struct java_options a;
	json_t *all;
	static const char line[] =
		"-XX:+UseZ -XX:-B -XX:Size=5 -XX: -XX:Bare -XX:File=/x -XX:PrintGC=1";

	(void)state;
	java_options_init(&a);
	assert_ok(java_options_variable(&a, line, false));
	expect(java_flags(&a, "Size,Other"),
		"[{\"name\": \"Size\", \"type\": null, \"value\": \"5\", \"origin\": \"command line\", "
		"\"kind\": []}]");
	expect(java_flags(&a, "none"), "[]");
	expect(java_flags(&a, ""), "[]");
	all = java_flags(&a, "default");
	assert_int_equal(json_array_size(all), 3);
	json_decref(all);
	// The last one holds; sizes are numbers; what is too large is none.
	assert_ok(java_options_variable(&a,
		"-XX:Size=2k -Xmx1G -Xss1025k -Xmn -Xmsx -XX:Ratio=1.50 -XX:Big=99999999999999999999 "
		"-XX:Huge=99999999999t -XX:Hex=0x10",
		true));
	expect(java_flags(&a, "Size,MaxHeapSize,ThreadStackSize,Ratio,Big,Huge,Hex,MinHeapSize"),
		"[{\"name\": \"Big\", \"type\": null, \"value\": \"99999999999999999999\", \"origin\": "
		"\"environment\", \"kind\": []}, "
		"{\"name\": \"Hex\", \"type\": null, \"value\": \"16\", \"origin\": \"environment\", "
		"\"kind\": []}, "
		"{\"name\": \"MaxHeapSize\", \"type\": \"size_t\", \"value\": \"1073741824\", "
		"\"origin\": \"environment\", \"kind\": []}, "
		"{\"name\": \"Ratio\", \"type\": null, \"value\": \"1.50\", \"origin\": "
		"\"environment\", \"kind\": []}, "
		"{\"name\": \"Size\", \"type\": null, \"value\": \"2048\", \"origin\": "
		"\"environment\", \"kind\": []}, "
		"{\"name\": \"ThreadStackSize\", \"type\": \"intx\", \"value\": \"1025\", "
		"\"origin\": \"environment\", \"kind\": []}]");
	java_options_deinit(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(machine__clouds),
		SCRATCH_HOST_CASE(machine__a_pod_is_named_as_its_host),
		cmocka_unit_test(machine__libc),
		cmocka_unit_test(machine__usage),
		cmocka_unit_test(machine__external_metadata),
		cmocka_unit_test(machine__address_of_metrics),
		cmocka_unit_test(machine__tags_hold_no_blanks),
		cmocka_unit_test(machine__files_of_programs),
		cmocka_unit_test(machine__counters_and_lines),
		cmocka_unit_test(machine__flags_of_a_jvm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's numbers: rows, exposition, status, addresses to listen on. */
#include "tests/harness.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>

#include "agent/exposition.h"
#include "agent/status.h"
#include "delivery/http_server.h"

static void vitals__rows_make_an_exposition(void **state)
{
	(void)state;
	for (unsigned i = 0; i < METRIC_COUNT; i++) {
		const struct metric_row *row = &metric_rows[i];
		bool first = i == 0 || strcmp(metric_rows[i - 1].name, row->name) != 0;
		size_t n = strlen(row->name);
		bool total = n > 6 && !strcmp(row->name + n - 6, "_total");

		assert_int_equal(total, row->kind == METRIC_COUNTER);
		for (const char *p = row->name; *p; p++)
			assert_true(islower((unsigned char)*p) || *p == '_');
		assert_true(!first || strlen(row->help) > 5);
		assert_null(strpbrk(row->help, "\n\\"));
		// One family stands together, and no two rows are the same series.
		for (unsigned j = 0; j < i; j++) {
			bool same = !strcmp(metric_rows[j].name, row->name);

			assert_false(same && first);
			assert_false(same && !strcmp(metric_rows[j].labels, row->labels));
			assert_false(same && metric_rows[j].kind != row->kind);
		}
	}
}

static void fill_spool(void *arg, struct metric_values *m)
{
	m->spool_items = *(const double *)arg;
}

static void vitals__what_is_reported_is_summed_and_shown(void **state)
{
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
	struct profile_meta meta = {
		.has_ledger = true,
		.ledger = {.expected = 100, .entries = 90, .complete = 80, .lost_ring = 10},
	};
	struct vitals_report report;
	struct vitals *v;
	double waiting = 7;

	(void)state;
	assert_ok(vitals_new(1000000000, &v));
	assert_ok(vitals_add_part(v, fill_spool, &waiting));
	vitals_begin(v)->values.memory_bpf = 16777217;
	vitals_end(v);
	vitals_window(v, &meta);
	vitals_window(v, &meta);
	vitals_collect(v, &report);
	assert_int_equal(report.ledger[COUNTER_LEDGER_complete], 160);
	assert_true(report.values.windows == 2 && report.values.spool_items == 7);
	assert_true(report.values.memory_anonymous > 0 && report.values.descriptors > 2);
	assert_true(report.values.child_processes == 0);
	assert_ok(exposition_write(&text, &report));
	assert_non_null(
		strstr(text.data, "\ngprofiler_agent_memory_bytes{kind=\"bpf\"} 16777217\n"));
	assert_non_null(
		strstr(text.data, "\ngprofiler_agent_samples_total{outcome=\"complete\"} 160\n"));
	assert_non_null(strstr(text.data, "\ngprofiler_agent_coverage_ratio 0.900000\n"));
	assert_non_null(strstr(text.data, "\ngprofiler_agent_start_time_seconds 1\n"));
	assert_null(strstr(text.data, "nan"));
	vitals_remove_part(v, fill_spool, &waiting);
	vitals_collect(v, &report);
	assert_true(report.values.spool_items == 0);
	vitals_free(v);
}

static void vitals__coverage_counts_what_is_missing(void **state)
{
	struct profile_ledger l = {0};

	(void)state;
	assert_true(vitals_coverage(&l) == 1);
	l = (struct profile_ledger){.expected = 100, .entries = 60, .idle_silent = 40};
	assert_true(vitals_coverage(&l) == 1);
	l = (struct profile_ledger){.expected = 100, .entries = 50, .not_delivered = 50};
	assert_true(vitals_coverage(&l) == 0.5);
	// Without a clock, against what was seen.
	l = (struct profile_ledger){.entries = 100, .lost_ring = 20, .aggregation_full = 5};
	assert_true(vitals_coverage(&l) == 0.75);
}

static void vitals__parts_have_a_cap(void **state)
{
	double d = 0;
	struct vitals *v;

	(void)state;
	assert_ok(vitals_new(0, &v));
	assert_ok(vitals_add_part(v, fill_spool, NULL));
	for (unsigned i = 0; i < VITALS_PARTS_MAX; i++)
		assert_ok(vitals_add_part(v, fill_spool, &d));
	assert_int_equal(vitals_add_part(v, fill_spool, &d), -ENOSPC);
	vitals_free(v);
}

static void vitals__status_is_an_object_of_every_row(void **state)
{
	struct vitals_report report;
	struct vitals *v;
	json_t *j;

	(void)state;
	assert_ok(vitals_new(0, &v));
	vitals_collect(v, &report);
	j = status_json(&report);
	assert_int_equal(json_object_size(json_object_get(j, "numbers")), METRIC_COUNT);
	assert_string_equal(json_string_value(json_object_get(j, "state")), "starting");
	json_decref(j);
	vitals_free(v);
}

static void check_address(const char *text, const char *host, unsigned port)
{
	struct sockaddr_storage address;
	const struct sockaddr_in *v4 = (const void *)&address;
	const struct sockaddr_in6 *v6 = (const void *)&address;
	char shown[INET6_ADDRSTRLEN] = "";
	socklen_t len;

	assert_ok(http_server_parse(text, &address, &len));
	if (address.ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &v6->sin6_addr, shown, sizeof(shown));
		assert_int_equal(ntohs(v6->sin6_port), port);
		assert_int_equal(len, sizeof(*v6));
	} else {
		inet_ntop(AF_INET, &v4->sin_addr, shown, sizeof(shown));
		assert_int_equal(ntohs(v4->sin_port), port);
		assert_int_equal(len, sizeof(*v4));
	}
	assert_string_equal(shown, host);
}

static void vitals__addresses_to_listen_on(void **state)
{
	static const char *const bad[] = {"", ":", "x", "host:1", "1.2.3.4",
		"1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:-1", "1.2.3.4:+1", "1.2.3.4: 1", "::1:80",
		"[::1]", "[]:1", "[:1", "]:1", "1.2.3.4:99999999999999999999", "[1.2.3.4]:1",
		"11111111111111111111111111111111111111111111111111111111:1"};
	struct sockaddr_storage address;
	socklen_t len;

	(void)state;
	check_address("127.0.0.1:9203", "127.0.0.1", 9203);
	check_address("0.0.0.0:0", "0.0.0.0", 0);
	check_address(":9203", "127.0.0.1", 9203);
	check_address("9203", "127.0.0.1", 9203);
	check_address("localhost:65535", "127.0.0.1", 65535);
	check_address("[::1]:80", "::1", 80);
	check_address("[::]:80", "::", 80);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(http_server_parse(bad[i], &address, &len), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vitals__rows_make_an_exposition),
		cmocka_unit_test(vitals__what_is_reported_is_summed_and_shown),
		cmocka_unit_test(vitals__coverage_counts_what_is_missing),
		cmocka_unit_test(vitals__parts_have_a_cap),
		cmocka_unit_test(vitals__status_is_an_object_of_every_row),
		cmocka_unit_test(vitals__addresses_to_listen_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/harness.h -- cmocka with what our tests need besides.
 *
 * A test program is one file; its cases are named module__case. It speaks TAP on stdout
 * (build-aux/run-tests sets CMOCKA_MESSAGE_OUTPUT=TAP). A skip always gives its reason. */
#ifndef GP_TESTS_HARNESS_H
#define GP_TESTS_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Ends the case as skipped; the runner prints the reason in its summary. */
#define test_skip(...)                                                                             \
	do {                                                                                       \
		printf("# SKIP-REASON %s: ", __func__);                                            \
		printf(__VA_ARGS__);                                                               \
		printf("\n");                                                                      \
		fflush(stdout);                                                                    \
		skip();                                                                            \
	} while (0)

/* A call that must return 0. */
#define assert_ok(expr) assert_int_equal((expr), 0)

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* agent/java_facts.h -- a JVM's version in the reference's form (gprofiler-agent.md 3.13), without asking
 * the JVM. Any thread. */
#ifndef GP_AGENT_JAVA_FACTS_H
#define GP_AGENT_JAVA_FACTS_H

#include "base/buf.h"
#include "process/hsperf.h"

/* Appends the lines of `java -version`: from what the JVM publishes (NULL: it does not), and from the
 * file `release` of its home, which is found from there or from the path of libjvm. Leaves ret empty
 * where neither says a version. */
void java_version(const char *proc, uint32_t pid, const char *libjvm, const struct hsperf *h,
	struct buf *ret);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* agent/java_flags.h -- the flags a JVM was given, in the reference's form (gprofiler-agent.md 3.13), without
 * asking the JVM. Any thread. */
#ifndef GP_AGENT_JAVA_FLAGS_H
#define GP_AGENT_JAVA_FLAGS_H

#include "base/json.h"
#include "process/java_options.h"

/* Flags by -XX:, -Xmx and their like, sorted by name, as {name, type, value, origin, kind}; of a flag that was
 * given more than once the last one. Numbers are as the JVM prints them. choice is --java-collect-jvm-flags:
 * "none", or names to keep; "default" and "all" keep all; flags whose value is a text, and those that can be
 * changed in the running JVM, are left out as there. What only the JVM itself knows (flags it chose, most types,
 * kinds) is not here. */
json_t *java_flags(const struct java_options *options, const char *choice);

#endif

// SPDX-License-Identifier: Apache-2.0
// fib.js SECONDS: (of the CPU with WORKLOAD_LIFE=cpu) three JavaScript functions, one calling the other, compiled by the JIT.
'use strict';
const clock = process.env.WORKLOAD_LIFE === 'cpu' ? () => process.cpuUsage().user / 1000 : Date.now;
function jsLeaf(n) {
  let x = n;
  for (let i = 0; i < 2000; i++)
    x = (x * 31 + i) | 0;
  return x;
}
function jsMiddle(n) {
  return jsLeaf(n) + jsLeaf(n + 1) + 1;
}
function jsOuter(end) {
  let sum = 0;
  while (clock() < end)
    for (let i = 0; i < 500; i++)
      sum = (sum + jsMiddle(i)) | 0;
  return sum;
}
jsOuter(clock() + 1000 * Number(process.argv[2] || 3));

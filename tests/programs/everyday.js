// Everyday Node: maps, JSON, zlib on the thread pool, a worker, a child process.
const { execFileSync } = require("node:child_process");
const { createHash } = require("node:crypto");
const { gunzip, gzip } = require("node:zlib");
const { Worker } = require("node:worker_threads");

const text = JSON.stringify(Array.from({ length: 5000 }, (_, id) => ({ id, name: `n${(id * id) % 997}` })));
console.log(text.length, createHash("sha256").update(text).digest("hex"));
console.log(execFileSync("sh", ["-c", "echo child"]).toString().trim());
gzip(text, (failed, packed) => {
  if (failed) throw failed;
  gunzip(packed, (broken, plain) => {
    if (broken) throw broken;
    console.log(plain.toString() === text);
    const code = "require('node:worker_threads').parentPort.postMessage(Array(50000).fill(1).length)";
    new Worker(code, { eval: true }).on("message", (n) => console.log("worker", n)).on("exit", (c) => console.log("exit", c));
  });
});

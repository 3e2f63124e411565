/**
 * Calls generated clients as an application would, and prints what came, as JSON.
 *
 * test_typescript.py generates the package beside which this lies, compiles both with `tsc
 * --strict`, runs this under node, and compares what it prints with the Python client's answers.
 */

import { Client, ClientError, Echo, Fussy, Scale, Sleepy, Stream, Total, Upper } from "./index.ts";
import { type Datatype, InvalidInputError } from "./index.ts";

const url = process.argv[2] ?? "";
const client = new Client(url, { timeoutMs: 20_000 });
const found: Record<string, unknown> = {};

/** What fails, by class, status and message. */
async function failure(call: () => Promise<unknown>): Promise<unknown> {
  try {
    return { answered: await call() };
  } catch (error) {
    if (!(error instanceof ClientError)) throw error;
    const { name, model, status, attempts, requestId, message } = error;
    return { name, model, status, attempts, requestId, message };
  }
}

async function numbers(): Promise<void> {
  const nd = <Values>(...data: Values[]) => ({ shape: [1, data.length], data });
  const floats = [0, -0, 1 / 3, -2.5, 65504, 65519, 65520, 6e-8, 1e-7, 3e-8, 6.1e-5, 2049, 1e38];
  const sent = {
    bool: nd(true, false),
    uint8: nd(0, 255),
    uint16: nd(0, 65535),
    uint32: nd(0, 2 ** 32 - 1),
    uint64: nd<number | bigint>(2n ** 64n - 1n, 1),
    int8: nd(-128, 127),
    int16: nd(-32768, 32767),
    int32: nd(-(2 ** 31), 2 ** 31 - 1),
    int64: nd(-(2n ** 63n), 2n ** 63n - 1n),
    fp16: nd(...floats.slice(0, -1), 65504, Infinity, NaN),
    fp32: { shape: [2, 2], data: new Float32Array([0.1, -Infinity, NaN, 3e38]) },
    fp64: nd(0.1, 1e300),
    bf16: nd(...floats, -Infinity, NaN),
    bytes: nd<string | Uint8Array>("grüße", "", new Uint8Array([104, 105])),
  };
  found["echo"] = await new Echo(client).infer(sent);
}

async function batches(): Promise<void> {
  const scale = new Scale(client);
  found["scale"] = await scale.infer({ x: [1, 2, 3, 4], offset: 0.5 });
  const items = Array.from({ length: 20 }, (_, at) => ({ x: [at, 1, 2, 3] }));
  found["batch"] = await scale.inferBatch(items, { parallel: 2 });
  const plain = new Upper(url, { encoding: "json", headers: async () => ({ "X-Test": "1" }) });
  found["json"] = await plain.inferBatch([{ text: "grüße" }, { text: "b" }]);
}

async function streams(): Promise<void> {
  const numbers: number[] = [];
  for await (const { number } of new Stream(client).stream({ count: 5 })) numbers.push(number);
  found["stream"] = numbers;
  const first: number[] = [];
  for await (const { number } of new Stream(client).stream({ count: 100_000 })) {
    first.push(number);
    if (number === 2) break;
  }
  found["left early"] = first;
  const sequence = new Total(client).sequence();
  const totals = [await sequence.send({ x: 1 }), await sequence.send({ x: 10 }, { end: true })];
  totals.push(await sequence.send({ x: 5 }, { end: true }));
  found["sequence"] = totals.map(({ total }) => total);
}

async function failures(): Promise<void> {
  const scale = new Scale(client);
  // What the types refuse is refused at run time too.
  const loose = (inputs: unknown) => () => scale.infer(inputs as { x: number[] });
  const raw = { name: "x", datatype: "FP64" as Datatype, shape: [1, 4], data: new Float64Array(4) };
  const fussy = new Fussy(client);
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 50);
  const sleepy = new Sleepy(client);
  const closed = new Client(process.argv[3] ?? "", { retries: 1 });
  const calls: Record<string, () => Promise<unknown>> = {
    "too few values": loose({ x: [1, 2] }),
    "no number": loose({ x: ["1", 2, 3, 4] }),
    "too large": loose({ x: [1e39, 2, 3, 4] }),
    "missing": loose({ offset: 1 }),
    "unknown": loose({ x: [1, 2, 3, 4], y: 1 }),
    "refused by the server": () => client.infer("scale", [raw], { requestId: "r-1" }),
    "refused by the model": () => fussy.infer({ how: "invalid" }),
    "fault": () => fussy.infer({ how: "fault" }),
    "no model": () => client.infer("nothing", [raw]),
    "no version": () => scale.infer({ x: [1, 2, 3, 4] }, { version: 9 }),
    "restricted": () => new Client(`${url}/v2/logging?`).metadata(),
    "no server": () => closed.metadata(),
    "no protocol": () => new Client(`${url}/elsewhere`).metadata(),
    "deadline": () => sleepy.infer({ seconds: 1 }, { timeoutMs: 100 }),
    "cancelled": () => sleepy.infer({ seconds: 1 }, { signal: stop.signal }),
    "stream": async () => {
      for await (const _ of new Stream(client).stream({ count: -1 }));
    },
  };
  const results: Record<string, unknown> = {};
  for (const [name, call] of Object.entries(calls)) results[name] = await failure(call);
  found["failures"] = results;
  found["is a class"] = await scale.infer({ x: [] }).catch((e) => e instanceof InvalidInputError);
}

async function questions(): Promise<void> {
  found["ready"] = [await client.ready(), await client.ready("scale"), await client.ready("nix")];
  found["metadata"] = await client.metadata("upper");
  found["config"] = (await client.config("upper"))["max_batch_size"];
  found["statistics"] = (await client.statistics("upper"))["model_stats"];
}

/** Typed arrays as lists; what JSON has no number for as text. */
function plain(_: string, value: unknown): unknown {
  if (typeof value === "bigint") return String(value);
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  if (Object.is(value, -0)) return "-0";
  const typed = ArrayBuffer.isView(value) && !(value instanceof DataView);
  return typed ? Array.from(value as Uint8Array) : value;
}

await numbers();
await batches();
await streams();
await failures();
await questions();
console.log(JSON.stringify(found, plain));

declare const process: { readonly argv: readonly string[] };
declare const console: { log(text: string): void };

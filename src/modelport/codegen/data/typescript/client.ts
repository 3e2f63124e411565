/**
 * Calls to a server of the Open Inference Protocol (V2), over `fetch` and nothing else.
 *
 * The modules beside this folder know the models; this knows the protocol.
 */

import { ProtocolError, refusal } from "./errors.ts";
import { type Document, isDocument } from "./json.ts";
import { type Data, type Datatype, type Tensor } from "./tensors.ts";
import { fromBinary, fromJson, toBinary, toJson } from "./tensors.ts";
import { type Answer, type Call, type CallOptions, type ClientOptions } from "./transport.ts";
import { Transport, errorIn, toDocument } from "./transport.ts";

export type { CallOptions, ClientOptions, HeaderSource } from "./transport.ts";

const JSON_SIZE = "Inference-Header-Content-Length";
const utf8 = { encode: new TextEncoder(), decode: new TextDecoder() };

/** What a sequence's request says of its place. */
export interface SequenceStep {
  readonly id: number;
  readonly start: boolean;
  readonly end: boolean;
}

/** What one inference asks for, beside its tensors. */
export interface InferOptions extends CallOptions {
  /** Names of the outputs to answer with; all by default. */
  readonly outputs?: readonly string[];
  readonly step?: SequenceStep | undefined;
}

/** The answer to one inference. */
export interface Reply {
  readonly version: string;
  readonly outputs: ReadonlyMap<string, Tensor>;
}

/** Calls the models of one server; may be shared. It keeps nothing that must be closed. */
export class Client {
  private readonly transport: Transport;

  /** @param url - of the server's HTTP endpoint, such as `http://127.0.0.1:8000`. */
  constructor(url: string | URL, options: ClientOptions = {}) {
    this.transport = new Transport(url, options);
  }

  /** URL of the server. */
  get endpoint(): string {
    return this.transport.endpoint;
  }

  /** Runs a model once, on tensors with their batch dimension. Not repeated within a sequence. */
  async infer(
    model: string, tensors: readonly Tensor[], options: InferOptions = {},
  ): Promise<Reply> {
    const call = this.transport.call(options, model);
    const json = this.transport.options.encoding === "json";
    const head = requestHead(call, options, json);
    const body = json ? jsonBody(head, tensors) : binaryBody(head, tensors);
    const init = { method: "POST", ...body };
    const repeatable = options.step === undefined;
    const path = `${modelPath(model, options)}/infer`;
    return readReply(await this.transport.send(call, path, init, repeatable));
  }

  /** Sends one request to Triton's `/generate_stream` and gives the documents that answer it. */
  async *generate(
    model: string, inputs: Document, options: CallOptions = {},
  ): AsyncGenerator<Document, void, undefined> {
    const call = this.transport.call(options, model);
    const headers = { "Content-Type": "application/json" };
    const init = { method: "POST", headers, body: stringify(inputs) };
    const path = `${modelPath(model, options)}/generate_stream`;
    const answer = await this.transport.send(call, path, init, false);
    for await (const text of answer.events()) {
      const error = errorIn(text);
      if (error !== undefined) throw refusal(error, call.facts({ status: 400 }));
      yield toDocument(call, text);
    }
  }

  /** Asks what tensors a model has and which versions serve; without a model, of the server. */
  async metadata(model?: string, options: CallOptions = {}): Promise<Document> {
    return this.get(model === undefined ? "/v2" : modelPath(model, options), model, options);
  }

  /** Asks for Triton's model configuration. */
  async config(model: string, options: CallOptions = {}): Promise<Document> {
    return this.get(`${modelPath(model, options)}/config`, model, options);
  }

  /** Asks for a model's counters, or those of all. */
  async statistics(model?: string, options: CallOptions = {}): Promise<Document> {
    const path = model === undefined ? "/v2/models" : modelPath(model, options);
    return this.get(`${path}/stats`, model, options);
  }

  /** Whether the server, or one model of it, answers inferences now. */
  async ready(model?: string, options: CallOptions = {}): Promise<boolean> {
    const call = this.transport.call(options, model);
    const path = model === undefined ? "/v2/health" : modelPath(model, options);
    try {
      await (await this.transport.send(call, `${path}/ready`, {}, false)).bytes();
      return true;
    } catch (error) {
      if (isNotReady(error)) return false;
      throw error;
    }
  }

  private async get(
    path: string, model: string | undefined, options: CallOptions,
  ): Promise<Document> {
    const call = this.transport.call(options, model);
    return (await this.transport.send(call, path, {}, true)).document();
  }
}

function isNotReady(error: unknown): boolean {
  // Triton 2.51 answers 400 for a model that is not ready, and for one that it has never seen.
  const names = [
    "InvalidInputError", "NotReadyError", "ModelNotFoundError",
    "ServerUnreachableError", "ConnectionLostError",
  ];
  return error instanceof Error && names.includes(error.name);
}

function modelPath(model: string, options: CallOptions): string {
  const version = options.version === undefined ? "" : `/versions/${options.version}`;
  return `/v2/models/${encodeURIComponent(model)}${version}`;
}

// --- requests -------------------------------------------------------------------

function requestHead(call: Call, options: InferOptions, json: boolean): Record<string, unknown> {
  const { step } = options;
  return {
    ...(call.requestId !== undefined && { id: call.requestId }),
    ...(options.outputs && { outputs: options.outputs.map((name) => ({ name })) }),
    parameters: {
      ...(!json && { binary_data_output: true, timeout: Math.ceil(call.remainingMs() * 1000) }),
      ...(step && {
        sequence_id: step.id, sequence_start: step.start, sequence_end: step.end,
      }),
    },
  };
}

interface Body {
  readonly headers: Record<string, string>;
  readonly body: Uint8Array<ArrayBuffer> | string;
}

function jsonBody(head: Record<string, unknown>, tensors: readonly Tensor[]): Body {
  const inputs = tensors.map((tensor) => {
    const { name, datatype, shape } = tensor;
    return `${JSON.stringify({ name, datatype, shape }).slice(0, -1)},"data":${toJson(tensor)}}`;
  });
  const body = `${JSON.stringify(head).slice(0, -1)},"inputs":[${inputs.join(",")}]}`;
  return { headers: { "Content-Type": "application/json" }, body };
}

function binaryBody(head: Record<string, unknown>, tensors: readonly Tensor[]): Body {
  const parts = tensors.map(toBinary);
  const inputs = tensors.map(({ name, datatype, shape }, place) => {
    return { name, datatype, shape, parameters: { binary_data_size: parts[place]?.length ?? 0 } };
  });
  const json = utf8.encode.encode(JSON.stringify({ ...head, inputs }));
  const body = new Uint8Array(parts.reduce((size, part) => size + part.length, json.length));
  let offset = 0;
  for (const part of [json, ...parts]) {
    body.set(part, offset);
    offset += part.length;
  }
  const headers = { "Content-Type": "application/octet-stream", [JSON_SIZE]: `${json.length}` };
  return { headers, body };
}

/** JSON.stringify, with bigints as the integers that they are. */
function stringify(value: unknown): string {
  if (typeof value === "bigint") return String(value);
  if (Array.isArray(value)) return `[${value.map(stringify).join(",")}]`;
  if (!isDocument(value)) return JSON.stringify(value);
  const members = Object.entries(value).map(([k, v]) => `${JSON.stringify(k)}:${stringify(v)}`);
  return `{${members.join(",")}}`;
}

// --- answers --------------------------------------------------------------------

async function readReply(answer: Answer): Promise<Reply> {
  const body = await answer.bytes();
  const size = answer.response.headers.get(JSON_SIZE);
  const end = size === null ? body.length : Number(size);
  const document = toDocument(answer.call, utf8.decode.decode(body.subarray(0, end)));
  const outputs = new Map<string, Tensor>();
  let offset = end;
  try {
    for (const output of document["outputs"] as readonly OutputHead[]) {
      const bytes = output.parameters?.binary_data_size;
      const data = bytes === undefined
        ? fromJson(output.datatype, output.data)
        : fromBinary(output.datatype, slice(body, offset, Number(bytes)));
      offset += Number(bytes ?? 0);
      outputs.set(output.name, tensor(output, data));
    }
  } catch (cause) {
    const what = `the answer of ${answer.call.endpoint} cannot be read: ${String(cause)}`;
    throw new ProtocolError(what, answer.call.facts({ cause }));
  }
  return { version: String(document["model_version"] ?? ""), outputs };
}

interface OutputHead {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly data?: unknown;
  readonly parameters?: { readonly binary_data_size?: unknown };
}

function tensor({ name, datatype, shape }: OutputHead, data: Data): Tensor {
  const size = shape.reduce((product, dimension) => product * dimension, 1);
  if (data.length !== size) throw new RangeError(`'${name}' has ${data.length} values, not ${size}`);
  return { name, datatype, shape, data };
}

function slice(body: Uint8Array, offset: number, size: number): Uint8Array {
  if (!(offset + size <= body.length)) throw new RangeError("it is cut off");
  return body.subarray(offset, offset + size);
}

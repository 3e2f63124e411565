/** What all models have in common: from a caller's values to tensors and back. */

import { Client, type CallOptions, type ClientOptions, type SequenceStep } from "./client.ts";
import { InvalidInputError, ProtocolError } from "./errors.ts";
import { type Document } from "./json.ts";
import { type Data, type Datatype, type Element, type Nd, type Tensor } from "./tensors.ts";
import { fromJson, isPacked, pack, sizeOf } from "./tensors.ts";

/** One input or output. */
export interface TensorSpec {
  readonly name: string;
  readonly datatype: Datatype;
  /** Shape of one item, without the batch; -1 for a dimension that varies. */
  readonly dims: readonly number[];
  readonly optional?: boolean;
  readonly minimum?: number;
  readonly maximum?: number;
  /** All texts that there are. */
  readonly values?: readonly string[];
  /** BYTES that are no text: they come as `Uint8Array`. */
  readonly binary?: boolean;
}

/** A model as its repository describes it. */
export interface ModelSpec {
  readonly name: string;
  /** 0 for a model that does not batch. */
  readonly maxBatchSize: number;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
}

type Item = Readonly<Record<string, unknown>>;

const lenient = new TextDecoder();
const strict = new TextDecoder("utf-8", { fatal: true });

/** Knows one model of one server; the generated classes say what it takes and gives. */
class Base<Inputs extends object> {
  /** The client that the calls go through. */
  readonly client: Client;
  protected readonly spec: ModelSpec;

  /** @param server - a client to share, or the URL of a server. */
  constructor(server: Client | string | URL, spec: ModelSpec, options?: ClientOptions) {
    this.client = server instanceof Client ? server : new Client(server, options);
    this.spec = spec;
  }

  /** Whether the model answers now. */
  async ready(options?: CallOptions): Promise<boolean> {
    return this.client.ready(this.spec.name, options);
  }

  protected async run<Result>(
    items: readonly Inputs[], options?: CallOptions, step?: SequenceStep,
  ): Promise<Result[]> {
    const { name, outputs } = this.spec;
    const tensors = encode(this.client.endpoint, this.spec, items as unknown as readonly Item[]);
    const reply = await this.client.infer(name, tensors, { ...options, step });
    const columns = outputs.map((spec): [string, unknown[]] => {
      const tensor = reply.outputs.get(spec.name);
      const rows = tensor && decode(spec, tensor, this.spec.maxBatchSize > 0);
      if (rows?.length !== items.length) throw this.lacks(spec.name, items.length, rows?.length);
      return [spec.name, rows];
    });
    return items.map((_, row) => {
      return Object.fromEntries(columns.map(([name, rows]) => [name, rows[row]])) as Result;
    });
  }

  private lacks(output: string, rows: number, got = 0): ProtocolError {
    const { endpoint } = this.client;
    const message = `'${this.spec.name}' answered ${got} rows of '${output}', expected ${rows}`;
    return new ProtocolError(message, { endpoint, model: this.spec.name, attempts: 1 });
  }
}

/** A model that gives one answer to each request, whatever came before. */
export class Model<Inputs extends object, Result> extends Base<Inputs> {
  /**
   * Runs the model on one item.
   *
   * @throws InvalidInputError before anything is sent, or when the model refuses the item.
   * @throws ClientError of another class for every other way that a call can fail.
   */
  async infer(inputs: Inputs, options?: CallOptions): Promise<Result> {
    const [result] = await this.run<Result>([inputs], options);
    return result as Result;
  }

  /**
   * Runs the model on items of equal shapes; results come in their order.
   *
   * What is more than the model's largest batch is sent in several requests, `parallel` at a time;
   * the first that fails ends them.
   */
  async inferBatch(
    items: readonly Inputs[], options: CallOptions & { readonly parallel?: number } = {},
  ): Promise<Result[]> {
    const size = Math.max(1, this.spec.maxBatchSize);
    const batches: (readonly Inputs[])[] = [];
    for (let at = 0; at < items.length; at += size) batches.push(items.slice(at, at + size));
    const results: Result[][] = [];
    const stop = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
    const places = batches.entries();
    const worker = async () => {
      for (const [place, batch] of places) {
        results[place] = await this.run<Result>(batch, { ...options, signal });
      }
    };
    try {
      await Promise.all(Array.from({ length: options.parallel ?? 4 }, worker));
    } finally {
      stop.abort();
    }
    return results.flat();
  }
}

/** A model that answers one request with a stream. */
export class StreamingModel<Inputs extends object, Result> extends Base<Inputs> {
  /**
   * Gives the responses as they come. Leaving the loop ends the request here; Triton goes on,
   * because over HTTP it does not see that the caller has gone.
   */
  async *stream(inputs: Inputs, options?: CallOptions): AsyncGenerator<Result, void, undefined> {
    const { name, outputs } = this.spec;
    const item = inputs as unknown as Item;
    encode(this.client.endpoint, this.spec, [item]); // only to refuse what it would refuse
    const given = this.spec.inputs.filter((spec) => item[spec.name] !== undefined);
    const members = given.map((spec) => [spec.name, toPlain(spec.datatype, item[spec.name])]);
    const documents = this.client.generate(name, Object.fromEntries(members), options);
    for await (const document of documents) yield fromDocument(outputs, document) as Result;
  }
}

/** A model that remembers what came before in the same sequence. */
export class SequenceModel<Inputs extends object, Result> extends Base<Inputs> {
  /** Begins a sequence. End it with the last `send`; the server forgets idle ones after a while. */
  sequence(): Sequence<Inputs, Result> {
    return new Sequence((inputs, step, options) => this.run([inputs], options, step));
  }
}

/** Requests that belong together; send them one after the other. */
export class Sequence<Inputs extends object, Result> {
  /** Its number on the server. */
  readonly id = 1 + Math.floor(Math.random() * (2 ** 52));
  private started = false;
  private readonly run: (
    inputs: Inputs, step: SequenceStep, options?: CallOptions,
  ) => Promise<Result[]>;

  constructor(
    run: (inputs: Inputs, step: SequenceStep, options?: CallOptions) => Promise<Result[]>,
  ) {
    this.run = run;
  }

  /** Sends the next item; with `end`, the last. Never repeated by itself. */
  async send(
    inputs: Inputs, { end = false, ...options }: CallOptions & { readonly end?: boolean } = {},
  ): Promise<Result> {
    const step = { id: this.id, start: !this.started, end };
    const [result] = await this.run(inputs, step, options);
    this.started = !end;
    return result as Result;
  }
}

// --- from values to tensors -----------------------------------------------------

function encode(endpoint: string, model: ModelSpec, items: readonly Item[]): Tensor[] {
  const refuse = (message: string) =>
    new InvalidInputError(message, { endpoint, model: model.name });
  for (const name of new Set(items.flatMap((item) => Object.keys(item)))) {
    if (!model.inputs.some((spec) => spec.name === name)) {
      const known = model.inputs.map((spec) => `'${spec.name}'`).join(", ");
      throw refuse(`'${model.name}' has no input '${name}'; it has ${known}`);
    }
  }
  const tensors: Tensor[] = [];
  for (const spec of model.inputs) {
    const given = items.filter((item) => item[spec.name] !== undefined);
    if (given.length === 0 && spec.optional) continue;
    const missing = items.length - given.length;
    if (missing > 0) {
      throw refuse(`${missing} of ${items.length} items for '${model.name}' lack '${spec.name}'`);
    }
    try {
      tensors.push(stack(spec, items.map((item) => item[spec.name]), model.maxBatchSize > 0));
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw refuse(`input '${spec.name}' of '${model.name}': ${why}`);
    }
  }
  if (tensors.length === 0) throw refuse(`the request for '${model.name}' has no input`);
  return tensors;
}

function stack(spec: TensorSpec, values: readonly unknown[], batching: boolean): Tensor {
  const { name, datatype } = spec;
  const rows = values.map((value) => row(spec, value));
  const shape = rows[0]?.shape ?? [];
  const other = rows.find((each) => String(each.shape) !== String(shape));
  if (other) throw new TypeError(`a batch of unequal shapes: [${shape}] and [${other.shape}]`);
  const data = packed(spec, rows);
  return { name, datatype, shape: batching ? [rows.length, ...shape] : shape, data };
}

function packed(spec: TensorSpec, rows: readonly Row[]): Data {
  const [only] = rows;
  const bounded = spec.minimum !== undefined || spec.maximum !== undefined;
  if (rows.length === 1 && !bounded && isPacked(spec.datatype, only?.list)) return only.list;
  const elements = rows.flatMap(({ list }) => listed(list));
  checkMeaning(spec, elements);
  return pack(spec.datatype, elements);
}

interface Row {
  readonly shape: readonly number[];
  readonly list: List;
}

/** One item's value as elements and their shape. */
function row({ datatype, dims }: TensorSpec, value: unknown): Row {
  if (isScalar(dims)) {
    // One of BYTES may be a Uint8Array, which is no list of its numbers.
    const bytes = datatype === "BYTES" && value instanceof Uint8Array;
    const list = isList(value) && !bytes ? value : [value as Element];
    if (list.length !== 1) throw new TypeError(`expected one value, got ${list.length}`);
    return { shape: dims, list };
  }
  const shaped = isNd(value) ? value : undefined;
  const list = shaped ? shaped.data : value;
  if (!isList(list)) throw new TypeError(`expected values of shape [${dims}], got ${typeof list}`);
  const shape = shaped?.shape ?? (dims.length === 1 ? [list.length] : dims);
  const fits = shape.length === dims.length && dims.every((d, at) => d === -1 || d === shape[at]);
  if (!fits) throw new TypeError(`expected shape [${dims}], got [${shape}]`);
  if (sizeOf(shape) !== list.length) {
    throw new TypeError(`${list.length} values are no array of shape [${shape}]`);
  }
  return { shape, list };
}

function isScalar(dims: readonly number[]): boolean {
  return dims.length === 0 || (dims.length === 1 && dims[0] === 1);
}

type List = readonly Element[] | Exclude<Data, boolean[] | Uint8Array[]>;

function isList(value: unknown): value is List {
  if (Array.isArray(value)) return true;
  return ArrayBuffer.isView(value) && !(value instanceof DataView);
}

function listed(list: List): readonly Element[] {
  return Array.isArray(list) ? list : Array.from(list as ArrayLike<number>);
}

function isNd(value: unknown): value is Nd<List> {
  return typeof value === "object" && value !== null && "shape" in value && "data" in value;
}

function checkMeaning(spec: TensorSpec, elements: readonly Element[]): void {
  const { minimum = -Infinity, maximum = Infinity, values } = spec;
  const outside = elements.find((one) => Number(one) < minimum || Number(one) > maximum);
  if (outside !== undefined && spec.datatype !== "BYTES") {
    throw new TypeError(`expected ${minimum} to ${maximum}, got ${String(outside)}`);
  }
  const strange = values && elements.find((one) => !values.includes(one as string));
  if (strange !== undefined) {
    throw new TypeError(`expected one of ${values?.join(", ")}, got '${String(strange)}'`);
  }
}

/** A value as `/generate_stream` takes it: one, or a flat list. */
function toPlain(datatype: Datatype, value: unknown): unknown {
  if (datatype === "BYTES" && value instanceof Uint8Array) return strict.decode(value);
  const list = isNd(value) ? value.data : value;
  if (!isList(list)) return list;
  return listed(list).map((element) => toPlain(datatype, element));
}

// --- and back -------------------------------------------------------------------

/** Gives what each item of the batch has of an output. */
function decode(spec: TensorSpec, tensor: Tensor, batching: boolean): unknown[] {
  if (!batching) return [value(spec, tensor.data, tensor.shape)];
  const [rows = 0, ...shape] = tensor.shape;
  const size = sizeOf(shape);
  return Array.from({ length: rows }, (_, at) => {
    return value(spec, tensor.data.slice(at * size, (at + 1) * size) as Data, shape);
  });
}

function value(spec: TensorSpec, data: Data, shape: readonly number[]): unknown {
  const texts = spec.datatype === "BYTES" && !spec.binary;
  const values = texts ? (data as Uint8Array[]).map((item) => lenient.decode(item)) : data;
  if (isScalar(spec.dims)) return values[0];
  return spec.dims.length === 1 ? values : { shape, data: values };
}

/** Reads one document of `/generate_stream`, where a tensor is one value or a flat list. */
function fromDocument(outputs: readonly TensorSpec[], document: Document): Record<string, unknown> {
  const members = outputs.map((spec) => {
    const data = fromJson(spec.datatype, document[spec.name] ?? []);
    const known = sizeOf(spec.dims.filter((dimension) => dimension !== -1));
    const shape = spec.dims.map((dimension) => (dimension === -1 ? data.length / known : dimension));
    return [spec.name, value(spec, data, shape)];
  });
  return Object.fromEntries(members) as Record<string, unknown>;
}

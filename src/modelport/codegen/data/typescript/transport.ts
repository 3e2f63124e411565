/** Requests over `fetch`: deadlines, cancellation, headers, and which error stands for what. */

import {
  CallCancelledError, ClientError, ConnectionLostError, DeadlineExceededError, NotReadyError,
  OverloadedError, ProtocolError, ServerUnreachableError, refusal,
} from "./errors.ts";
import { isDocument, parse } from "./json.ts";

/** Settings of a client. */
export interface ClientOptions {
  /** Milliseconds that a call may take in all, repeats included; 30,000 by default. */
  readonly timeoutMs?: number;
  /** Sent with each request; a function is asked before each, for tokens that expire. */
  readonly headers?: HeaderSource;
  /** How often a call that is safe to repeat is sent again; 2 by default. */
  readonly retries?: number;
  /** `"json"` for servers without the binary tensor extension. */
  readonly encoding?: "binary" | "json";
  /** In place of the global `fetch`. */
  readonly fetch?: typeof fetch;
}

/** Headers, or what gives them. */
export type HeaderSource =
  | Readonly<Record<string, string>>
  | (() => Readonly<Record<string, string>> | Promise<Readonly<Record<string, string>>>);

/** Settings of one call. */
export interface CallOptions {
  /** Milliseconds that it may take; the client's by default. */
  readonly timeoutMs?: number;
  /** Ends it early. */
  readonly signal?: AbortSignal;
  /** Shows up in the server's log and in errors. */
  readonly requestId?: string;
  /** The server chooses by default. */
  readonly version?: string | number;
}

/** One call: what it is about, and when it must be done. */
export class Call {
  attempts = 0;
  readonly endpoint: string;
  readonly model: string | undefined;
  readonly requestId: string | undefined;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  private readonly expires: number;
  private readonly caller: AbortSignal | undefined;

  constructor(endpoint: string, timeoutMs: number, options: CallOptions, model?: string) {
    this.endpoint = endpoint;
    this.model = model;
    this.requestId = options.requestId;
    this.timeoutMs = options.timeoutMs ?? timeoutMs;
    this.expires = performance.now() + this.timeoutMs;
    this.caller = options.signal;
    const clock = AbortSignal.timeout(Math.max(0, this.timeoutMs));
    this.signal = options.signal === undefined ? clock : AbortSignal.any([options.signal, clock]);
  }

  /** Milliseconds that are left. */
  remainingMs(): number {
    return Math.max(0, this.expires - performance.now());
  }

  /** What errors carry. */
  facts(more: { status?: number; cause?: unknown } = {}) {
    const { endpoint, model, requestId, attempts } = this;
    return { endpoint, model, requestId, attempts, ...more };
  }

  /** Which error it is that `fetch`, or the reading of its answer, was ended by. */
  broken(cause: unknown, answered: boolean): ClientError {
    const about = this.model === undefined ? this.endpoint : `'${this.model}' at ${this.endpoint}`;
    const facts = this.facts({ cause });
    if (this.caller?.aborted) {
      return new CallCancelledError(`the call of ${about} was cancelled`, facts);
    }
    if (this.signal.aborted) {
      const message = `no answer from ${about} within ${this.timeoutMs} ms`;
      return new DeadlineExceededError(message, facts);
    }
    const detail = reason(cause);
    return answered
      ? new ConnectionLostError(`the answer of ${about} broke off: ${detail}`, facts)
      : new ServerUnreachableError(`no answer from ${this.endpoint}: ${detail}`, facts);
  }
}

function reason(cause: unknown): string {
  const inner = cause instanceof Error ? cause.cause : undefined; // node hides why in here
  return [cause, inner].flatMap((it) => (it instanceof Error ? [it.message] : [])).join(": ");
}

/** Sends requests to one server. */
export class Transport {
  readonly endpoint: string;
  readonly options: ClientOptions;

  constructor(url: string | URL, options: ClientOptions) {
    this.endpoint = String(url).replace(/\/+$/, "");
    this.options = options;
  }

  /** Begins a call. */
  call(options: CallOptions, model?: string): Call {
    return new Call(this.endpoint, this.options.timeoutMs ?? 30_000, options, model);
  }

  /**
   * Sends a request, again where that is safe, and gives the answer that says 200.
   *
   * @param repeatable - whether running it twice does no harm.
   */
  async send(call: Call, path: string, init: RequestInit, repeatable: boolean): Promise<Answer> {
    const retries = repeatable ? (this.options.retries ?? 2) : 0;
    for (;;) {
      call.attempts += 1;
      try {
        const response = await this.fetch(call, path, init);
        if (response.ok) return new Answer(call, response);
        throw await refused(call, response);
      } catch (error) {
        const pause = 100 * 2 ** call.attempts * (0.5 + Math.random());
        const done = call.attempts > retries || pause >= call.remainingMs();
        if (done || !isPassing(error)) throw error;
        await rest(call, pause);
      }
    }
  }

  private async fetch(call: Call, path: string, init: RequestInit): Promise<Response> {
    const given = this.options.headers ?? {};
    const headers = typeof given === "function" ? await given() : given;
    const request = { ...init, headers: { ...headers, ...init.headers }, signal: call.signal };
    try {
      return await (this.options.fetch ?? fetch)(`${this.endpoint}${path}`, request);
    } catch (error) {
      throw call.broken(error, false);
    }
  }
}

function isPassing(error: unknown): boolean {
  const kinds = [ServerUnreachableError, OverloadedError, NotReadyError];
  return kinds.some((kind) => error instanceof kind);
}

async function rest(call: Call, milliseconds: number): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    call.signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
  if (call.signal.aborted) throw call.broken(call.signal.reason, false);
}

async function refused(call: Call, response: Response): Promise<ClientError> {
  const body = await new Answer(call, response).text();
  const facts = call.facts({ status: response.status });
  const message = errorIn(body.replace(/^data: */, "")) ?? "";
  if (message !== "" || [401, 403, 429, 500, 502, 503, 504].includes(response.status)) {
    return refusal(message || "a proxy, without a reason", facts);
  }
  const what = `${call.endpoint} answered ${response.status} without the protocol's error document`;
  return new ProtocolError(what, facts);
}

/** The text of the protocol's error document, if this is one. */
export function errorIn(text: string): string | undefined {
  try {
    const document = parse(text);
    return isDocument(document) && "error" in document ? String(document["error"]) : undefined;
  } catch {
    return undefined;
  }
}

/** An answer whose status is 200, not yet read. */
export class Answer {
  readonly call: Call;
  readonly response: Response;

  constructor(call: Call, response: Response) {
    this.call = call;
    this.response = response;
  }

  async bytes(): Promise<Uint8Array> {
    return new Uint8Array(await this.read(() => this.response.arrayBuffer()));
  }

  async text(): Promise<string> {
    return this.read(() => this.response.text());
  }

  /** The answer as a JSON object. */
  async document(): Promise<Readonly<Record<string, unknown>>> {
    return toDocument(this.call, await this.text());
  }

  /** The data of server-sent events, as they come; leaving the loop ends the request. */
  async *events(): AsyncGenerator<string, void, undefined> {
    const reader = this.response.body?.getReader();
    if (reader === undefined) return;
    const decoder = new TextDecoder();
    let rest = "";
    try {
      for (;;) {
        const { done, value } = await this.read(() => reader.read());
        rest += done ? `${decoder.decode()}\n\n` : decoder.decode(value, { stream: true });
        const events = rest.split(/\r?\n\r?\n/);
        rest = events.pop() ?? "";
        for (const event of events) {
          const data = [...event.matchAll(/^data: ?(.*)$/gm)].map((line) => line[1]);
          if (data.length > 0) yield data.join("\n");
        }
        if (done) return;
      }
    } finally {
      await reader.cancel().catch(() => undefined);
    }
  }

  private async read<Value>(read: () => Promise<Value>): Promise<Value> {
    try {
      return await read();
    } catch (error) {
      throw this.call.broken(error, true);
    }
  }
}

/** Parses a JSON object, or says that the server does not speak the protocol. */
export function toDocument(call: Call, text: string): Readonly<Record<string, unknown>> {
  try {
    const document = parse(text);
    if (isDocument(document)) return document;
  } catch (cause) {
    throw new ProtocolError(`${call.endpoint} answered with what is no JSON`, call.facts({ cause }));
  }
  throw new ProtocolError(`${call.endpoint} answered with no JSON object`, call.facts());
}

/**
 * Why a call failed: one class for each thing that a caller can do about it.
 *
 * The names are those of Modelport's Python client.
 */

/** What is known of the call that failed. */
export interface CallFacts {
  /** URL of the server, as it was given. */
  readonly endpoint: string;
  readonly model?: string | undefined;
  readonly requestId?: string | undefined;
  /** How often the request was sent. */
  readonly attempts?: number | undefined;
  /** HTTP status of the answer, when there was one. */
  readonly status?: number | undefined;
  readonly cause?: unknown;
}

/** The root of all errors that this client throws. */
export class ClientError extends Error {
  readonly endpoint: string;
  readonly model: string | undefined;
  readonly requestId: string | undefined;
  readonly attempts: number;
  readonly status: number | undefined;

  constructor(message: string, facts: CallFacts) {
    super(message, { cause: facts.cause });
    this.name = new.target.name;
    this.endpoint = facts.endpoint;
    this.model = facts.model;
    this.requestId = facts.requestId;
    this.attempts = facts.attempts ?? 0;
    this.status = facts.status;
  }
}

/** A tensor is missing or of the wrong type, shape or range; or the model refused its content. */
export class InvalidInputError extends ClientError {}
/** `fetch` got no answer. Browsers do not say why: refused, no address, TLS, or CORS. */
export class ServerUnreachableError extends ClientError {}
/** The connection broke while the answer came; the request may have been executed. */
export class ConnectionLostError extends ClientError {}
/** No such model or version. */
export class ModelNotFoundError extends ClientError {}
/** The model or the server is known, and not ready. */
export class NotReadyError extends ClientError {}
/** The model's queue is full: try again later. */
export class OverloadedError extends ClientError {}
/** No answer within `timeoutMs`. */
export class DeadlineExceededError extends ClientError {}
/** The caller's `AbortSignal` ended the call; its reason is the `cause`. */
export class CallCancelledError extends ClientError {}
/** The server asks for a header that the request lacks. */
export class UnauthorizedError extends ClientError {}
/** The model failed on a valid request: see the server's log. */
export class ServerFaultError extends ClientError {}
/** What came back is not the Open Inference Protocol. */
export class ProtocolError extends ClientError {}

type Kind = new (message: string, facts: CallFacts) => ClientError;

const BY_STATUS: Readonly<Record<number, Kind>> = {
  400: InvalidInputError,
  401: UnauthorizedError,
  403: UnauthorizedError,
  404: ModelNotFoundError,
  429: OverloadedError,
  501: ProtocolError,
  502: NotReadyError,
  503: NotReadyError,
  504: DeadlineExceededError,
};

// Triton says more in its texts than in its statuses (tried: 2.51.0).
const BY_TEXT: readonly (readonly [RegExp, Kind])[] = [
  [/is restricted/, UnauthorizedError],
  [/Exceeds maximum queue size/, OverloadedError],
  [/Request timeout expired/, DeadlineExceededError],
  [/no available versions/, NotReadyError],
  [/unknown model|is not found/, ModelNotFoundError],
  [/is not healthy|Failed to process the request|in the model's code/, ServerFaultError],
  [/[Uu]nable to parse|failed to parse/, InvalidInputError],
];

/** Makes the error for a refusal in the server's own words. */
export function refusal(message: string, facts: CallFacts): ClientError {
  const told = BY_TEXT.find(([text]) => text.test(message))?.[1];
  // Without a model there is nothing to be found: the URL is that of something else.
  const lost = facts.status === 404 && facts.model === undefined ? ProtocolError : undefined;
  const kind = lost ?? told ?? BY_STATUS[facts.status ?? 0] ?? ServerFaultError;
  const about = facts.model === undefined ? facts.endpoint : `'${facts.model}' at ${facts.endpoint}`;
  return new kind(`${about} answered ${facts.status}: ${firstLine(message)}`, facts);
}

function firstLine(message: string): string {
  return (message.trim().split("\n")[0] ?? "").replace("[request id: <id_unknown>] ", "");
}

/** Tensors of the Open Inference Protocol: their types, and their bytes on the wire. */

/** Element types; FP16 and BF16 become `Float32Array` here. */
export type Datatype =
  | "BOOL" | "UINT8" | "UINT16" | "UINT32" | "UINT64" | "INT8" | "INT16" | "INT32" | "INT64"
  | "FP16" | "FP32" | "FP64" | "BYTES" | "BF16";

/** The values of a tensor in row-major order. */
export type Data =
  | Uint8Array | Uint16Array | Uint32Array | BigUint64Array
  | Int8Array | Int16Array | Int32Array | BigInt64Array
  | Float32Array | Float64Array | boolean[] | Uint8Array[];

/** One element, before it is sent or after it came. */
export type Element = number | bigint | boolean | string | Uint8Array;

/** A tensor as it travels. */
export interface Tensor {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly data: Data;
}

/** An array of two or more dimensions: its values in row-major order. */
export interface Nd<Values> {
  readonly shape: readonly number[];
  readonly data: Values;
}

const NUMERIC = {
  UINT8: Uint8Array, UINT16: Uint16Array, UINT32: Uint32Array, UINT64: BigUint64Array,
  INT8: Int8Array, INT16: Int16Array, INT32: Int32Array, INT64: BigInt64Array,
  FP32: Float32Array, FP64: Float64Array, FP16: Float32Array, BF16: Float32Array,
} as const;

const BITS: Readonly<Record<string, number>> = {
  UINT8: 8, UINT16: 16, UINT32: 32, UINT64: 64, INT8: 8, INT16: 16, INT32: 32, INT64: 64,
};

const text = new TextEncoder();

/** How many elements a shape has. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, dimension) => product * dimension, 1);
}

/**
 * Puts elements into the array of their datatype.
 *
 * @throws TypeError saying which element does not fit; nothing is rounded or wrapped round.
 */
export function pack(datatype: Datatype, elements: readonly Element[]): Data {
  if (datatype === "BOOL") return elements.map(toBoolean);
  if (datatype === "BYTES") return elements.map(toBytes);
  const signed = datatype.startsWith("INT");
  if (datatype === "INT64" || datatype === "UINT64") {
    const long = elements.map((element) => toInteger(element, datatype, 64, signed));
    return new NUMERIC[datatype](long);
  }
  const size = BITS[datatype];
  const convert = (element: Element) => {
    if (size === undefined) return toNumber(element, datatype);
    return Number(toInteger(element, datatype, size, signed));
  };
  return new NUMERIC[datatype](elements.map(convert));
}

/** Whether a caller's array can travel as it lies in memory. */
export function isPacked(datatype: Datatype, array: unknown): array is Data {
  return datatype !== "BOOL" && datatype !== "BYTES" && array instanceof NUMERIC[datatype];
}

function toBoolean(element: Element): boolean {
  if (typeof element !== "boolean") throw mismatch(element, "BOOL", "true or false");
  return element;
}

function toBytes(element: Element): Uint8Array {
  if (typeof element === "string") return text.encode(element);
  if (!(element instanceof Uint8Array)) throw mismatch(element, "BYTES", "a string or Uint8Array");
  return element;
}

function toInteger(element: Element, datatype: Datatype, bits: number, signed: boolean): bigint {
  const whole = typeof element === "bigint" || Number.isSafeInteger(element);
  if (!whole) throw mismatch(element, datatype, "a whole number (a bigint above 2^53)");
  const value = BigInt(element as number | bigint);
  const fits = signed ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value);
  if (fits !== value) throw mismatch(element, datatype, `a number of ${bits} bits`);
  return value;
}

function toNumber(element: Element, datatype: Datatype): number {
  if (typeof element !== "number") throw mismatch(element, datatype, "a number");
  const narrow = datatype === "FP64" ? element : Math.fround(element);
  if (Number.isFinite(element) && !Number.isFinite(narrow)) {
    throw mismatch(element, datatype, "a number of its range");
  }
  return element;
}

function mismatch(element: Element, datatype: Datatype, wanted: string): TypeError {
  const got = typeof element === "string" ? `'${element.slice(0, 40)}'` : String(element);
  return new TypeError(`expected ${wanted} for ${datatype}, got ${got} (${typeof element})`);
}

// --- the binary extension -------------------------------------------------------
// https://github.com/kserve/open-inference-protocol and Triton's extension_binary_data.md:
// little-endian values, BYTES with a length of 4 bytes before each element. Every platform
// with a fetch() is little-endian, so typed arrays travel as they lie in memory.

/** Gives a tensor's bytes. */
export function toBinary(tensor: Tensor): Uint8Array {
  const { data, datatype } = tensor;
  if (datatype === "FP16") return halves(data as Float32Array, toHalf);
  if (datatype === "BF16") return halves(data as Float32Array, toBrain);
  if (!Array.isArray(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (datatype === "BOOL") return Uint8Array.from(data as boolean[], Number);
  const items = data as Uint8Array[];
  const bytes = new Uint8Array(items.reduce((size, item) => size + 4 + item.length, 0));
  const view = new DataView(bytes.buffer);
  let offset = 0;
  for (const item of items) {
    view.setUint32(offset, item.length, true);
    bytes.set(item, offset + 4);
    offset += 4 + item.length;
  }
  return bytes;
}

/**
 * Reads a tensor's values from its bytes.
 *
 * @throws RangeError if they are too few or too many.
 */
export function fromBinary(datatype: Datatype, bytes: Uint8Array): Data {
  if (datatype === "BYTES") return splitBytes(bytes);
  if (datatype === "BOOL") return Array.from(bytes, (value) => value !== 0);
  const copy = bytes.slice().buffer; // typed arrays begin at multiples of their element's size
  if (datatype === "FP16") return Float32Array.from(new Uint16Array(copy), fromHalf);
  if (datatype === "BF16") {
    return new Float32Array(Uint32Array.from(new Uint16Array(copy), (bits) => bits << 16).buffer);
  }
  return new NUMERIC[datatype](copy);
}

function splitBytes(bytes: Uint8Array): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const items: Uint8Array[] = [];
  for (let offset = 0; offset < bytes.length; ) {
    const size = view.getUint32(offset, true);
    if (offset + 4 + size > bytes.length) throw new RangeError("a BYTES element is cut off");
    items.push(bytes.slice(offset + 4, offset + 4 + size));
    offset += 4 + size;
  }
  return items;
}

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

function halves(values: Float32Array, convert: (value: number) => number): Uint8Array {
  return new Uint8Array(Uint16Array.from(values, convert).buffer);
}

/** To bfloat16, rounding to nearest, ties to even. */
function toBrain(value: number): number {
  float[0] = value;
  const whole = bits[0] ?? 0;
  if (Number.isNaN(value)) return 0x7fc0;
  return (whole + 0x7fff + ((whole >>> 16) & 1)) >>> 16;
}

/** To IEEE 754 binary16, rounding to nearest, ties to even. */
function toHalf(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (Number.isNaN(value)) return 0x7e00;
  if (size >= 65520) return sign | 0x7c00;
  // Below 2^-14 the steps are 2^-24 wide; above, 2^-10 of the power of two below.
  const exponent = Math.max(Math.floor(Math.log2(size || 2 ** -24)), -14);
  const steps = roundToEven(size / 2 ** (exponent - 10));
  return sign | (((exponent + 14) << 10) + steps);
}

function roundToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}

function fromHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >>> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

// --- JSON -----------------------------------------------------------------------

/** Writes a tensor's values as JSON, for servers without the binary extension. */
export function toJson(tensor: Tensor): string {
  if (tensor.datatype !== "BYTES") return `[${tensor.data.join(",")}]`;
  const strict = new TextDecoder("utf-8", { fatal: true });
  return JSON.stringify((tensor.data as Uint8Array[]).map((item) => strict.decode(item)));
}

/** Reads values that came as JSON, nested or flat. */
export function fromJson(datatype: Datatype, values: unknown): Data {
  const flat = (Array.isArray(values) ? values.flat(Infinity) : [values]) as Element[];
  if (datatype === "BYTES" || datatype === "BOOL") return pack(datatype, flat);
  const big = datatype === "INT64" || datatype === "UINT64";
  return pack(datatype, flat.map((item) => (big ? BigInt(item as number) : Number(item))));
}

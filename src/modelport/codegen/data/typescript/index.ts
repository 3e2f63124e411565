/** The protocol's client, which the models' modules build on. */

export * from "./client.ts";
export * from "./errors.ts";
export * from "./model.ts";
export * from "./tensors.ts";

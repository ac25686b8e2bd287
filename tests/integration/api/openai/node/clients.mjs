// Calls a gateway with openai-node and the AI SDK; prints what they return as one line of JSON.
// Arguments: base URL, API key, and the files of an image and of a mask.
import { createReadStream, readFileSync } from "node:fs";
import { createOpenAI } from "@ai-sdk/openai";
import { generateImage } from "ai";
import OpenAI, { toFile } from "openai";

const [baseURL, apiKey, image, mask] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });

const edited = await client.images.edit({
  image: createReadStream(image),
  mask: await toFile(readFileSync(mask), "mask.png"), // as application/octet-stream
  prompt: "a cat",
  seed: 7,
});
const types = [];
const stream = await client.images.generate({
  prompt: "slow",
  size: "64x64",
  quality: "low",
  stream: true,
  partial_images: 1,
});
for await (const event of stream) types.push(event.type);
const rejected = await client.images
  .generate({ prompt: "a lake", n: 11 })
  .catch((error) => ({ name: error.constructor.name, status: error.status, param: error.param }));
const models = [];
for await (const model of client.models.list()) models.push(model.id);
const provider = createOpenAI({ baseURL, apiKey });
const { images } = await generateImage({
  model: provider.image("gpt-image-1"),
  prompt: "a lake",
  n: 2,
  size: "64x64",
});
const { images: changed } = await generateImage({
  model: provider.image("gpt-image-1"),
  prompt: { text: "a cat", images: [readFileSync(image)], mask: readFileSync(mask) },
});
console.log(
  JSON.stringify({
    edited: edited.data[0].b64_json,
    types,
    rejected,
    models,
    generated: images.map((one) => one.base64),
    changed: changed[0].base64,
  }),
);

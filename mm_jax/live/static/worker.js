// Runs the generator: loads it once, then answers latents with pixels.

let ort, session, data, device;
// Files that the page was asked for, where it holds them itself: name to what takes their bytes.
const asked = new Map();

self.onmessage = async ({ data: message }) => {
  try {
    if (message.kind === "load") await load(message);
    else if (message.kind === "file") asked.get(message.name)(message.bytes);
    else await draw(message);
  } catch (error) {
    postMessage({ kind: "failed", text: String(error?.message ?? error).split("\n")[0] });
  }
};

// Whether there is a graphics card, and a browser that can suspend a program while it computes.
async function hasGraphics() {
  if (!navigator.gpu || !("Suspending" in WebAssembly)) return false;
  try {
    const adapter = await navigator.gpu.requestAdapter();
    return Boolean(adapter) && !adapter.info?.isFallbackAdapter;
  } catch {
    return false;
  }
}

async function load({ base, sizes, packed, only }) {
  const first = only ?? ((await hasGraphics()) ? "webgpu" : "wasm");
  const kept = new Map();
  for (const kind of first === "webgpu" && !only ? ["webgpu", "wasm"] : [first]) {
    try {
      await open(base, kind, sizes[kind], kept, packed);
      if (kind === "webgpu" && !only) await checkPace();
      device = kind;
      break;
    } catch (error) {
      // A driver that fails, or is slow, is no reason to stop: the processor computes the same.
      if (kind !== "webgpu" || only) throw error;
      console.warn(`WebGPU: ${error}`);
    }
  }
  const bytes = [...kept.values()].reduce((sum, file) => sum + file.length, 0);
  postMessage({ kind: "ready", bytes, device });
}

// Raises an error where a graphics card is slower than most processors, as one imitated by software.
async function checkPace() {
  const began = performance.now();
  await run(moved({ first: 0, second: 0, angle: 0 }, data.motions.map(() => 0.1)));
  const taken = performance.now() - began;
  if (taken > 400) throw new Error(`${Math.round(taken)} ms a picture`);
}

// Load the runtime and the network, draw a first picture; what was loaded stays in `kept`.
async function open(base, kind, sizes, kept, packed) {
  const names = Object.keys(sizes);
  const total = names.reduce((sum, name) => sum + sizes[name], 0);
  const done = Object.fromEntries(names.map((name) => [name, kept.has(name) ? sizes[name] : 0]));
  const report = () => {
    const sum = names.reduce((all, name) => all + done[name], 0);
    postMessage({ kind: "progress", done: sum, total: Math.max(total, sum) });
  };
  const [module, program, network, latents] = names;
  const fetched = names.slice(1).filter((name) => !kept.has(name));
  await Promise.all([
    opened(module, base, packed).then((loaded) => {
      ort = loaded;
      done[module] = sizes[module];
      report();
    }),
    ...fetched.map(async (name) => {
      const count = (length) => {
        done[name] = length;
        report();
      };
      kept.set(name, packed ? await ask(name, count) : await fetchWhole(new URL(name, base), count));
    }),
  ]);
  postMessage({ kind: "opening" });
  ort.env.wasm.wasmBinary = await unpacked(kept.get(program));
  // Several threads share memory, which servers must allow by two headers.
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
  ort.env.logLevel = "error";
  session = await ort.InferenceSession.create(kept.get(network), {
    executionProviders: [kind],
    freeDimensionOverrides: { N: 1 },
    logSeverityLevel: 3,
  });
  data ??= read(JSON.parse(new TextDecoder().decode(kept.get(latents))));
  const image = await run(moved({ first: 0, second: 0, angle: 0 }, data.motions.map(() => 0)));
  if (!image.every(Number.isFinite)) throw new Error("the picture holds no numbers");
}

// The runtime's module.
async function opened(name, base, packed) {
  if (!packed) return import(new URL(name, base));
  const blob = new Blob([await ask(name)], { type: "text/javascript" });
  return import(URL.createObjectURL(blob));
}

// A file from the page.
async function ask(name, report) {
  const bytes = await new Promise((resolve) => {
    asked.set(name, resolve);
    postMessage({ kind: "file", name });
  });
  report?.(bytes.length);
  return bytes;
}

async function fetchWhole(url, report) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url.pathname.split("/").pop()}: ${answer.status}`);
  const chunks = [];
  let length = 0;
  const reader = answer.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    report((length += value.length));
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

// Some servers unpack .gz files for the browser already.
async function unpacked(bytes) {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function read(json) {
  const floats = (text) => new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  return {
    ...json,
    faces: floats(json.faces),
    mean: floats(json.mean),
    motions: json.motions.map((motion) => ({ ...motion, direction: floats(motion.direction) })),
  };
}

// The latent [L, D] of a face with its motions. A mixture of two faces is as far from the mean as they are.
function moved({ first, second, angle }, strengths) {
  const { rows, width, face_rows: faceRows, faces, mean, motions } = data;
  // Faces of W have one row for all.
  const of = (face, row) => (face * faceRows + (row % faceRows)) * width;
  const ws = new Float32Array(rows * width);
  const [a, b] = [Math.cos(angle), Math.sin(angle)];
  for (let i = 0; i < ws.length; i++) {
    const d = i % width, row = (i - d) / width;
    const one = faces[of(first, row) + d], other = faces[of(second, row) + d];
    const own = angle ? mean[d] + a * (one - mean[d]) + b * (other - mean[d]) : one;
    ws[i] = motions.reduce((sum, motion, m) => sum + strengths[m] * motion.direction[i], own);
  }
  return ws;
}

async function run(ws) {
  const input = new ort.Tensor("float32", ws, [1, data.rows, data.width]);
  const { image } = await session.run({ ws: input });
  return image.data;
}

async function draw({ seq, face, strengths }) {
  const began = performance.now();
  const image = await run(moved(face, strengths));
  const side = data.resolution, size = side * side;
  const pixels = new Uint8ClampedArray(4 * size);
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) pixels[4 * i + c] = (image[c * size + i] + 1) * 127.5;
    pixels[4 * i + 3] = 255;
  }
  const milliseconds = performance.now() - began;
  postMessage({ kind: "image", seq, pixels, side, milliseconds, face }, [pixels.buffer]);
}

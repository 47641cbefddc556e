// A level meter from the audio itself: RMS as a bar, the peak of the last second as a line, from -60 to 0 dBFS.
//
// It listens to a copy of the element's sound (captureStream), so that whatever happens to it, the sound goes on; where a
// browser has no such copy, there is no meter.

const FLOOR_DB = -60;
const HOLD_MS = 1000;

const decibels = (level) => Math.max(FLOOR_DB, 20 * Math.log10(level || 1e-9));

export class Meter {
  #canvas;
  #audio;
  #context = null;
  #channels = []; // { analyser, peak, at }
  #frame = 0;

  constructor(canvas, audio) {
    this.#canvas = canvas;
    this.#audio = audio;
    canvas.hidden = !audio.captureStream;
  }

  start() {
    if (!this.#audio.captureStream) return;
    try {
      this.#context ??= new AudioContext();
      this.#context.resume();
      const source = this.#context.createMediaStreamSource(this.#audio.captureStream());
      const splitter = this.#context.createChannelSplitter(2);
      source.connect(splitter);
      this.#channels = [0, 1].map((number) => {
        const analyser = new AnalyserNode(this.#context, { fftSize: 2048 });
        splitter.connect(analyser, number);
        return { analyser, peak: FLOOR_DB, at: 0, samples: new Float32Array(analyser.fftSize) };
      });
    } catch {
      return; // no tracks yet, or no sound card: the next start tries again
    }
    cancelAnimationFrame(this.#frame);
    this.#draw();
  }

  // The level now, in dBFS, of each channel.
  measure() {
    const now = performance.now();
    return this.#channels.map((channel) => {
      channel.analyser.getFloatTimeDomainData(channel.samples);
      let sum = 0;
      let peak = 0;
      for (const sample of channel.samples) {
        sum += sample * sample;
        peak = Math.max(peak, Math.abs(sample));
      }
      const top = decibels(peak);
      if (top >= channel.peak || now - channel.at > HOLD_MS) [channel.peak, channel.at] = [top, now];
      return { rms: decibels(Math.sqrt(sum / channel.samples.length)), peak: channel.peak };
    });
  }

  #draw() {
    const { width, height } = this.#canvas;
    const paint = this.#canvas.getContext("2d");
    const style = getComputedStyle(this.#canvas);
    const colour = (name) => style.getPropertyValue(name).trim();
    paint.clearRect(0, 0, width, height);
    const levels = this.measure();
    const row = height / Math.max(1, levels.length);
    const at = (level) => (1 - level / FLOOR_DB) * width;
    levels.forEach(({ rms, peak }, index) => {
      paint.fillStyle = colour("--line");
      paint.fillRect(0, index * row + 2, width, row - 4);
      paint.fillStyle = rms > -6 ? colour("--accent") : colour("--live");
      paint.fillRect(0, index * row + 2, at(rms), row - 4);
      paint.fillStyle = peak > -1 ? colour("--accent") : colour("--ink");
      if (peak > FLOOR_DB) paint.fillRect(Math.min(at(peak), width - 3), index * row + 1, 3, row - 2);
    });
    this.#canvas.dataset.level = Math.max(FLOOR_DB, ...levels.map(({ rms }) => rms)).toFixed(1);
    if (!this.#audio.paused && !document.hidden) this.#frame = requestAnimationFrame(() => this.#draw());
    else if (!this.#audio.paused) setTimeout(() => this.#draw(), 1000);
    else paint.clearRect(0, 0, width, height);
  }
}

// Values of the API as words and addresses for people. No DOM, no state.

const CODECS = { mp3: "MP3", aac: "AAC", opus: "Opus", vorbis: "Vorbis", flac: "FLAC", speex: "Speex", theora: "Theora" };
const CHANNELS = { 1: "mono", 2: "stereo" };

export const nameOf = (mount) => mount.name || mount.mount;

export const count = (n, thing) => `${n.toLocaleString("en")} ${thing}${n === 1 ? "" : "s"}`;

const codecOf = ({ codec, content_type }) => CODECS[codec] ?? (codec || content_type);
const rateOf = ({ bitrate }) => bitrate && `${Math.round(bitrate / 1000)} kbit/s`;
const joined = (parts) => parts.filter(Boolean).join(" · ");

// "MP3 · 128 kbit/s", in a choice of qualities.
export const qualityOf = (mount) => joined([codecOf(mount), rateOf(mount)]) || mount.mount;

// "Auto · 128 kbit/s MP3": what that comes to now, if there is anything.
export const autoOf = (mount) => joined(["Auto", mount && [rateOf(mount), codecOf(mount)].filter(Boolean).join(" ")]);

// "MP3 · 128 kbit/s · 44.1 kHz · stereo", leaving out what the server does not know.
export function formatOf(mount) {
  const { sample_rate, channels } = mount;
  return joined([
    codecOf(mount),
    rateOf(mount),
    sample_rate && `${sample_rate / 1000} kHz`,
    channels && (CHANNELS[channels] ?? `${channels} channels`),
  ]);
}

// The stream as reached from this page: `listen_url` names the configured hostname, which is often "localhost".
// Prefixed with the origin, because a path such as "//elsewhere/live" alone would name another host.
export const streamUrl = (mount) => location.origin + mount.path;

// A source may announce any address; only http(s) becomes a link. Returns a URL or null.
export function siteOf(mount) {
  try {
    const url = new URL(mount.url);
    return /^https?:$/.test(url.protocol) ? url : null;
  } catch {
    return null;
  }
}

export function duration(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) return `${Math.floor(seconds)} s`;
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} days`;
}

export const clock = (moment) => new Date(moment).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

// "1:02:03"
export function timeOf(seconds) {
  const [hours, minutes, rest] = [seconds / 3600, (seconds / 60) % 60, seconds % 60].map(Math.floor);
  return [...(hours ? [hours, String(minutes).padStart(2, "0")] : [minutes]), String(rest).padStart(2, "0")].join(":");
}

// "12 minutes behind live", in steps that a screen reader may tell one after the other.
export function behind(seconds) {
  if (seconds < 55) return `${Math.max(10, Math.round(seconds / 10) * 10)} seconds behind live`;
  const minutes = Math.round(seconds / 60);
  const parts = [minutes >= 60 && count(Math.floor(minutes / 60), "hour"), minutes % 60 && count(minutes % 60, "minute")];
  return `${parts.filter(Boolean).join(" ")} behind live`;
}

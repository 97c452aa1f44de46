const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** The largest multiple of the alphabet's size in a byte. Greater bytes would make some letters more frequent. */
const LIMIT = 256 - (256 % ALPHABET.length);

const pool = new Uint8Array(4096);
let left = 0;

function nextByte(): number {
  if (left === 0) {
    crypto.getRandomValues(pool);
    left = pool.length;
  }
  return pool[--left] ?? 0;
}

/** An id of `length` random letters and digits, cryptographically secure. */
export function randomId(length: number): string {
  let id = "";
  while (id.length < length) {
    const byte = nextByte();
    if (byte < LIMIT) id += ALPHABET.charAt(byte % ALPHABET.length);
  }
  return id;
}

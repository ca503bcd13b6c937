// Packed lists, as docs/cache.md describes them: ids, or pairs with scores.
function unpack(blob) {
  const size = [4, 8, 2][blob[1] & 3], count = blob.readUInt16LE(2), ids = [];
  let place = 4;
  while (ids.length < count) {
    const start = place + size;
    if (size === 2) place = start + blob.readUInt16LE(place); // the length of a text
    ids.push(size === 2 ? blob.toString("utf8", start, place)
      : String(size === 4 ? blob.readUInt32LE(place) : blob.readBigUInt64LE(place)));
    if (size !== 2) place = start;
  }
  return blob[1] & 4 ? ids.map((id, n) => [id, half(blob.readUInt16LE(place + 2 * n))]) : ids;
}

function half(bits) {
  const sign = bits >> 15 ? -1 : 1, exponent = bits >> 10 & 31, fraction = bits & 1023;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * fraction / 1024);
}

module.exports = { unpack };

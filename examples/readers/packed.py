"""Packed lists, as docs/cache.md describes them: ids, or pairs with scores."""
import struct

def unpack(blob):
    version, flags, count = struct.unpack_from("<BBH", blob)
    place, ids = 4, []
    for _ in range(count):
        size = (4, 8, 2)[flags & 3]
        number = int.from_bytes(blob[place:place + size], "little")
        place += size
        if size == 2:  # the length of a text
            ids.append(blob[place:place + number].decode())
            place += number
        else:
            ids.append(str(number))
    if not flags & 4:
        return ids
    return [list(pair) for pair in zip(ids, struct.unpack_from(f"<{count}e", blob, place))]

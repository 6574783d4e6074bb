//! A gzip member without compression (RFC 1952, and stored blocks of RFC 1951, 3.2.4): what a
//! client must be able to read, without a compressor here.

/// The largest stored block.
const BLOCK: usize = 0xffff;

/// Returns `data` as a gzip member.
pub(crate) fn stored(data: &[u8]) -> Vec<u8> {
    // Magic, deflate, no flags, no time, no extra flags, unknown system.
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let blocks = data.chunks(BLOCK).count().max(1);
    for at in 0..blocks {
        let block = data.get(at * BLOCK..).unwrap_or_default();
        let block = &block[..block.len().min(BLOCK)];
        let length = block.len() as u16;
        out.push(u8::from(at + 1 == blocks));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.extend_from_slice(&crc32(data).to_le_bytes());
    out.extend_from_slice(&(data.len() as u32).to_le_bytes());
    out
}

/// Returns the checksum of RFC 1952, bit by bit.
fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_checksum() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_member_can_be_read() {
        for data in [vec![], b"abc".to_vec(), vec![7; 200_000]] {
            let decoded = llm_http::coding::decode("gzip", &stored(&data), 1 << 20).unwrap();
            assert_eq!(decoded, data);
        }
    }
}

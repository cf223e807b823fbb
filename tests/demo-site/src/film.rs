//! The film of a draft: one frame of one colour as a small MP4, which follows from the draft alone.
//!
//! The container is ISO/IEC 14496-12 with the boxes that a player asks for; the frame is H.264
//! baseline, 16 by 16, in plain samples, so that no encoder is needed.

use crate::account::short_hash;

/// What the bytes are.
pub(crate) const CONTENT_TYPE: &str = "video/mp4";

/// Sequence parameters: baseline, level 1, one macroblock, every frame a reference of its own.
const SEQUENCE: [u8; 6] = [0x67, 0x42, 0xc0, 0x0a, 0xdd, 0xe4];
/// Picture parameters: everything as simple as it can be.
const PICTURE: [u8; 4] = [0x68, 0xce, 0x38, 0x80];
/// An intra slice with one macroblock whose samples stand there as they are.
const SLICE: [u8; 5] = [0x65, 0x88, 0x84, 0x86, 0x80];
const SLICE_END: u8 = 0x80;
/// Samples of the macroblock: luma, then each of the two chromas.
const SAMPLES: [usize; 3] = [256, 64, 64];
/// Width and height of the frame.
const EDGE: u16 = 16;
/// Units of time in a second; the film lasts one.
const SECOND: u32 = 1_000;
/// The unit matrix of ISO/IEC 14496-12.
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

/// The film of a draft, by its id.
pub(crate) fn of_draft(id: &str) -> Vec<u8> {
    let head = atom(*b"ftyp", &[b"isom", &[0, 0, 2, 0], b"isom", b"avc1"]);
    let name = atom(*b"free", &[id.as_bytes()]);
    let frame = frame(id);
    let mut film = [head, name].concat();
    let frame_at = count(film.len() + BOX_HEADER_BYTES);
    film.extend(atom(*b"mdat", &[&frame]));
    film.extend(movie(frame_at, count(frame.len())));
    film
}

const BOX_HEADER_BYTES: usize = 8;

/// A box: its size, its kind, its content.
fn atom(kind: [u8; 4], content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    let size = count(BOX_HEADER_BYTES + content.len()).to_be_bytes();
    [&size[..], &kind, &content].concat()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// Lengths here are far below four gigabytes.
fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The frame, behind its length. Samples between 16 and 235 never look like the start of a unit.
fn frame(id: &str) -> Vec<u8> {
    let mut unit = SLICE.to_vec();
    for (length, shade) in SAMPLES.into_iter().zip(short_hash(&format!("film:{id}")).bytes()) {
        unit.extend(std::iter::repeat_n(shade, length));
    }
    unit.push(SLICE_END);
    [&count(unit.len()).to_be_bytes()[..], &unit].concat()
}

fn movie(frame_at: u32, frame_bytes: u32) -> Vec<u8> {
    let (rate, volume, next_track) = (0x1_0000, 0x0100_0000, 2);
    let mut header = words(&[0, 0, 0, SECOND, SECOND, rate, volume, 0, 0]);
    header.extend(words(&MATRIX));
    header.extend(words(&[0, 0, 0, 0, 0, 0, next_track]));
    atom(*b"moov", &[&atom(*b"mvhd", &[&header]), &track(frame_at, frame_bytes)])
}

fn track(frame_at: u32, frame_bytes: u32) -> Vec<u8> {
    let (enabled, number, edge) = (3, 1, u32::from(EDGE) << 16);
    let mut header = words(&[enabled, 0, 0, number, 0, SECOND, 0, 0, 0, 0]);
    header.extend(words(&MATRIX));
    header.extend(words(&[edge, edge]));
    let undetermined = 0x55c4_0000;
    let time = atom(*b"mdhd", &[&words(&[0, 0, 0, SECOND, SECOND, undetermined])]);
    let handler = atom(*b"hdlr", &[&words(&[0, 0]), b"vide", &words(&[0, 0, 0]), b"film\0"]);
    let here = atom(*b"url ", &[&words(&[1])]);
    let source = atom(*b"dinf", &[&atom(*b"dref", &[&words(&[0, 1]), &here])]);
    let look = atom(*b"vmhd", &[&words(&[1, 0, 0])]);
    let information = atom(*b"minf", &[&look, &source, &table(frame_at, frame_bytes)]);
    let media = atom(*b"mdia", &[&time, &handler, &information]);
    atom(*b"trak", &[&atom(*b"tkhd", &[&header]), &media])
}

/// Where the one frame is, how large, and for how long it is shown.
fn table(frame_at: u32, frame_bytes: u32) -> Vec<u8> {
    let descriptions = atom(*b"stsd", &[&words(&[0, 1]), &entry()]);
    let times = atom(*b"stts", &[&words(&[0, 1, 1, SECOND])]);
    let chunks = atom(*b"stsc", &[&words(&[0, 1, 1, 1, 1])]);
    let sizes = atom(*b"stsz", &[&words(&[0, frame_bytes, 1])]);
    let places = atom(*b"stco", &[&words(&[0, 1, frame_at])]);
    atom(*b"stbl", &[&descriptions, &times, &chunks, &sizes, &places])
}

fn entry() -> Vec<u8> {
    let edge = EDGE.to_be_bytes();
    let (profile, lengths_of_four) = (&SEQUENCE[1..4], 0xff);
    let one = |unit: &[u8]| [&[0, unit.len().to_le_bytes()[0]], unit].concat();
    let setup = [&[1], profile, &[lengths_of_four, 0xe1], &one(&SEQUENCE), &[1], &one(&PICTURE)].concat();
    let (first_source, dots_per_inch, colour) = (1, 0x48_0000, [0, 24, 0xff, 0xff]);
    let description = [
        words(&[0, first_source, 0, 0, 0, 0]),
        [edge, edge].concat(),
        words(&[dots_per_inch, dots_per_inch, 0]),
        [&[0, 1][..], &[0; 32], &colour].concat(),
        atom(*b"avcC", &[&setup]),
    ];
    atom(*b"avc1", &[&description.concat()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media;

    /// The kinds of the outermost boxes; whoever walks them ends exactly at the end.
    fn kinds(mut rest: &[u8]) -> Vec<String> {
        let mut kinds = Vec::new();
        while !rest.is_empty() {
            let size = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            kinds.push(String::from_utf8(rest[4..8].to_vec()).unwrap());
            rest = &rest[size..];
        }
        kinds
    }

    #[test]
    fn a_film_is_a_movie_whose_frame_is_where_it_says() {
        let film = of_draft("d-1");

        assert_eq!(kinds(&film), ["ftyp", "free", "mdat", "moov"]);
        assert_eq!(media::sniffed(&film), CONTENT_TYPE);
        let at = film.windows(4).position(|word| word == b"stco").unwrap() + 12;
        let frame_at = u32::from_be_bytes(film[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!(film[frame_at + 4..frame_at + 9], SLICE);
    }

    #[test]
    fn the_same_draft_gives_the_same_film_and_another_draft_another() {
        assert_eq!(of_draft("d-1"), of_draft("d-1"));
        assert_ne!(of_draft("d-1"), of_draft("d-2"));
    }
}

"""Video files of every kind, made by ffmpeg, and what must become of each of them.

`python -m tests.media.cases` prints the table of docs/media.md.
"""

from collections.abc import Mapping

from tests.media.case import SOUND, X264, Case, video

TWO = f"{video()} {SOUND.format(1)} {X264} -c:a aac"
SRT = f"{video()} -i {{subtitles}} {X264} -map 0 -map 1"
UNEVEN = f"{video()} -vf setpts='(N*N/40+N)/25/TB' -fps_mode passthrough {X264}"
TURNED = "-display_rotation {} -i {{base}} -c copy"
HDR = (
    f"{video('98x66', '25', 0.4)} -vf format=yuv420p10le -c:v libx265 -x265-params log-level=error"
    ":colorprim=bt2020:colormatrix=bt2020nc:transfer={}"
)
HALF = "format=rgba,colorchannelmixer=aa=0.5"
FIELDS = "tinterlace=mode=interleave_top,fieldorder=tff"


def rates() -> dict[str, Case]:
    named = {
        "23.976": "24000/1001", "24": "24", "25": "25", "29.97": "30000/1001", "30": "30", "50": "50",
        "59.94": "60000/1001", "60": "60",
    }  # fmt: skip
    return {
        f"{name} frames a second": Case(make=f"{video(rate=rate)} {X264}", facts={"fps": round(float(name), 3)})
        for name, rate in named.items()
    }


CASES: Mapping[str, Case] = {
    **rates(),
    "variable rate, mp4": Case(make=UNEVEN, facts={"frames": 25, "even": False}),
    "variable rate, mkv": Case(make=UNEVEN, name="a.mkv", facts={"frames": 25, "even": False}),
    "1 frame": Case(make=f"{video(seconds=0.04)} {X264}", facts={"frames": 1}),
    "2 frames": Case(make=f"{video(seconds=0.08)} {X264}", facts={"frames": 2}),
    **{
        f"turned by {degrees}": Case(
            make=TURNED.format(degrees),
            facts={"rotation": degrees, "width": 98 if degrees == 180 else 66, "mirrored": False},
        )
        for degrees in (90, 180, 270)
    },
    "mirrored": Case(make="-display_hflip -i {base} -c copy", facts={"mirrored": True, "rotation": 0}),
    "mirrored up and down": Case(make="-display_vflip -i {base} -c copy", facts={"mirrored": True, "rotation": 180}),
    "mirrored and turned by 90": Case(
        make="-display_rotation 90 -display_hflip -i {base} -c copy", facts={"mirrored": True, "width": 66}
    ),
    "turned by 45": Case(make="-display_rotation 45 -i {base} -c copy", refused="must be a right angle"),
    "pixels 4:3 as wide": Case(make=f"{video(extra=',setsar=4/3')} {X264}", facts={"aspect": "4/3"}),
    "pixels 4:3 as wide, sound and a font, into mkv": Case(
        make=f"{video(extra=',setsar=4/3')} {SOUND.format(1)} -i {{subtitles}} -map 0 -map 1 -map 2 {X264} -c:a aac"
        " -c:s ass -attach {font} -metadata:s:t mimetype=application/x-truetype-font",
        name="a.mkv", recipe={"output.container": "mkv"},
        facts={"aspect": "4/3", "copied": "audio subtitle attachment"},
    ),
    "pixels 59:54 as wide, two subtitles that nobody asked for, into mkv": Case(
        make=f"{video('720x576', seconds=0.4, extra=',setsar=59/54')} -i {{subtitles}} -i {{subtitles}} {X264} -map 0"
        " -map 1 -map 2 -c:s srt -disposition:s 0",
        name="a.mkv", recipe={"output.container": "mkv"}, facts={"aspect": "59/54", "copied": "subtitle subtitle"},
    ),
    "pixels 4:3 as wide, turned by 90": Case(
        make=f"{video(extra=',setsar=4/3')} {X264} {{other}} ;; -display_rotation 90 -i {{other}} -c copy",
        facts={"aspect": "3/4", "width": 66},
    ),
    "odd sides": Case(
        make=f"{video()} -vf crop=97:65:exact=1 -c:v ffv1 -pix_fmt yuv420p", name="a.mkv", facts={"width": 97}
    ),
    "sound": Case(make=TWO, facts={"copied": "audio"}),
    "two sound tracks": Case(
        make=f"{video()} {SOUND.format(1)} {SOUND.format(0.9)} -map 0 -map 1 -map 2 {X264} -c:a aac"
        " -metadata:s:a:0 language=deu -metadata:s:a:1 language=fra -disposition:a:1 default",
        facts={"copied": "audio audio"},
    ),
    "two languages, into mov": Case(
        make=f"{video()} {SOUND.format(1)} {SOUND.format(0.9)} -map 0 -map 1 -map 2 {X264} -c:a aac"
        " -metadata:s:a:0 language=ger -metadata:s:a:1 language=fra",
        recipe={"output.container": "mov"}, facts={"copied": "audio audio"},
    ),
    "a language without a code in mov": Case(
        make=f"{video()} {SOUND.format(1)} {X264} -c:a aac -metadata:s:a:0 language=hau",
        recipe={"output.container": "mov"}, warned="language hau of audio track 1 is left out",
    ),
    "late sound": Case(
        make=f"{video()} -itsoffset 0.3 {SOUND.format(0.7)} {X264} -c:a aac", facts={"copied": "audio"}
    ),
    "sound before pictures": Case(
        make=f"-itsoffset 0.32 {video()} {SOUND.format(1.3)} {X264} -c:a aac", facts={"start_s": 0.32}
    ),
    "longer sound": Case(make=f"{video()} {SOUND.format(1.8)} {X264} -c:a aac", facts={"frames": 25}),
    "shorter sound": Case(make=f"{video()} {SOUND.format(0.4)} {X264} -c:a aac", facts={"frames": 25}),
    "sound in mu-law, into mp4": Case(
        make=f"{video()} {SOUND.format(1)} {X264} -c:a pcm_mulaw", name="a.mkv", refused="audio in pcm_mulaw"
    ),
    "sound in mu-law, into mp4 without it": Case(
        make=f"{video()} {SOUND.format(1)} {X264} -c:a pcm_mulaw", name="a.mkv", recipe={"output.unfit": "drop"},
        warned="audio track 1 (pcm_mulaw) is left out",
    ),
    "sound in PCM, into mov": Case(
        make=f"{video()} {SOUND.format(1)} {X264} -c:a pcm_s16le", name="a.mov", recipe={"output.container": "mov"},
        facts={"copied": "audio"},
    ),
    "sound in PCM, in packets of a frame, into mov": Case(
        make=f"{video()} {SOUND.format(1)} -af asetnsamples=1920 {X264} -c:a pcm_s16le", name="a.mkv",
        recipe={"output.container": "mov"}, facts={"copied": "audio"},
    ),
    "sound, and pixels 4:3 as wide, into a zip file": Case(
        make=f"{video(extra=',setsar=4/3')} {SOUND.format(1)} {X264} -c:a aac", facts={"aspect": "4/3"},
        recipe={"output.container": "zip", "output.codec": "png", "output.pixel_format": "rgb24"},
    ),
    "subtitles that overlap": Case(
        make=f"{video()} -i {{overlapping}} {X264} -map 0 -map 1 -c:s mov_text", facts={"copied": "subtitle"}
    ),
    "subtitles of mp4": Case(make=f"{SRT} -c:s mov_text", facts={"copied": "subtitle"}),
    "subtitles of mkv, into mp4": Case(make=f"{SRT} -c:s srt", name="a.mkv", refused="subtitle in srt"),
    "subtitles of mkv, into mkv": Case(
        make=f"{SRT} -c:s srt", name="a.mkv", recipe={"output.container": "mkv"}, facts={"copied": "subtitle"}
    ),
    "subtitles of mkv, into mp4 without them": Case(
        make=f"{SRT} -c:s srt", name="a.mkv", recipe={"output.unfit": "drop"}, warned="subtitle track 1 (srt)"
    ),
    "styled subtitles and their font": Case(
        make=f"{SRT} -c:s ass -attach {{font}} -metadata:s:t mimetype=application/x-truetype-font", name="a.mkv",
        recipe={"output.container": "mkv"}, facts={"copied": "subtitle attachment"},
    ),
    "chapters and tags": Case(
        make=f"{video()} -i {{chapters}} {X264} -map 0 -map_metadata 1 -map_chapters 1", facts={"chapters": 2}
    ),
    "tags with names of their own": Case(
        make=f"{video()} {X264} -metadata com.example.shot=17 -metadata title=A -movflags use_metadata_tags",
        facts={"frames": 25},
    ),
    "a cover": Case(
        make="-i {base} -i {picture} -map 0 -map 1 -c copy -disposition:v:1 attached_pic", facts={"copied": "cover"}
    ),
    "a cover, into mkv": Case(
        make="-i {base} -i {picture} -map 0 -map 1 -c copy -disposition:v:1 attached_pic",
        recipe={"output.container": "mkv"}, warned="cover track 1 (mjpeg) is left out",
    ),
    "a cover, and tags with names of their own": Case(
        make="-i {base} -i {picture} -map 0 -map 1 -c copy -disposition:v:1 attached_pic {other} ;;"
        " -i {other} -map 0 -c copy -metadata hd_video=1 -metadata media_type=9",
        warned="cover track 1 (mjpeg) is left out",
    ),
    "subtitles before pictures": Case(
        make=f"-itsoffset 0.52 {video()} -i {{subtitles}} {X264} -map 0 -map 1 -c:s mov_text", facts={"start_s": 0.52}
    ),
    "a sound track without sound": Case(
        make=f"{TWO} -af atrim=start=5", name="a.mkv", warned="audio track 1 (aac) is left out: it has no packets"
    ),
    "sound that an edit list hides, into mkv": Case(
        make=f"{TWO} -g 50 {{other}} ;; -ss 0.5 -i {{other}} -c copy", recipe={"output.container": "mkv"},
        facts={"copied": "audio", "shown_less": True},
    ),
    "one time for two frames": Case(
        make=f"{video(seconds=0.8)} -vf settb=1/10000,setpts='N*200-196*eq(N\\,10)' -fps_mode passthrough"
        " -enc_time_base 1/10000 -c:v mjpeg -q:v 2",
        name="a.mkv", facts={"frames": 20, "even": False}, recipe={"output.container": "mkv"},
    ),
    "an open group of pictures, cut": Case(
        make=f"{video(seconds=2)} -c:v libx265 -x265-params log-level=none:keyint=16:min-keyint=16:open-gop=1"
        ":scenecut=0 -f segment -segment_time 0.6 -segment_start_number 1 {parts}",
        name="parts2.ts", warned="frames before the first key frame are left out",
    ),
    "a long name of a track, into mov": Case(
        make=f"{TWO} -metadata:s:a handler_name={'h' * 150}", recipe={"output.container": "mov"},
        facts={"copied": "audio"},
    ),
    "a tag of 70,000 letters": Case(
        make=f"{video()} {X264} -metadata comment={'x' * 70_000}", warned="tag comment is left out",
    ),
    "a time code": Case(make=f"{video()} {X264} -timecode 01:00:00:00", name="a.mov", facts={"copied": ""}),
    "a second video": Case(
        make=f"{video()} {video('64x48')} -map 0 -map 1 {X264}", warned="second video track 1 (h264) is left out"
    ),
    "no B-frames": Case(make=f"{video()} {X264} -bf 0", facts={"hidden": 0, "start_s": 0.0}),
    "B-frames, in pyramids": Case(
        make=f"{video()} {X264} -bf 8 -b-pyramid normal", facts={"hidden": 0, "start_s": 0.0}
    ),
    "B-frames with negative offsets": Case(
        make=f"{video()} {X264} -movflags negative_cts_offsets", facts={"hidden": 0, "start_s": 0.0}
    ),
    "a clock that starts before zero": Case(
        make=f"{TWO} -bf 0 -avoid_negative_ts disabled -output_ts_offset -0.4",
        facts={"hidden": 10, "frames": 15, "start_s": 0.0},
    ),
    "a clock that starts late": Case(
        make=f"{TWO} -output_ts_offset 3600 -muxdelay 0", name="a.ts", facts={"start_s": 3600.0}
    ),
    "an edit list that hides frames": Case(
        make=f"{video()} {X264} -g 50 {{other}} ;; -ss 0.5 -i {{other}} -c copy", facts={"shown_less": True}
    ),
    "fragments": Case(make=f"{TWO} -movflags frag_keyframe+empty_moov", facts={"frames": 25}),
    "one key frame": Case(make=f"{video(seconds=4)} {X264} -g 999", facts={"frames": 100}),
    "10 bits": Case(
        make=f"{video()} -pix_fmt yuv420p10le -c:v libx264", facts={"bits": 10}, warned="models see 8 of 10 bits"
    ),
    "HEVC in 10 bits": Case(
        make=f"{video()} -pix_fmt yuv420p10le -c:v libx265 -x265-params log-level=error", facts={"bits": 10},
        warned="models see 8 of 10 bits",
    ),
    "10 bits, refused": Case(
        make=f"{video()} -pix_fmt yuv420p10le -c:v libx264", recipe={"input.high_bit_depth": "refuse"},
        refused="is refused by input.high_bit_depth",
    ),
    "HDR in PQ": Case(make=HDR.format("smpte2084"), facts={"hdr": True}, warned="HDR is mapped", pixels=False),
    "HDR in HLG": Case(make=HDR.format("arib-std-b67"), facts={"hdr": True}, warned="HDR is mapped", pixels=False),
    "HDR, refused": Case(
        make=HDR.format("smpte2084"), recipe={"input.hdr": "refuse"}, refused="is refused by input.hdr"
    ),
    "4:2:2": Case(make=f"{video()} -pix_fmt yuv422p -c:v libx264", facts={"bits": 8}),
    "4:4:4": Case(make=f"{video()} -pix_fmt yuv444p -c:v libx264", facts={"bits": 8}),
    "gray": Case(make=f"{video()} -pix_fmt gray -c:v libx264", facts={"bits": 8}),
    "RGB": Case(make=f"{video()} -pix_fmt gbrp -c:v libx264rgb", name="a.mkv", facts={"bits": 8}),
    "full range": Case(make=f"{video()} -pix_fmt yuvj420p -c:v mjpeg", name="a.mov", facts={"full_range": True}),
    "BT.709, tagged": Case(
        make=f"{video()} -vf scale=out_color_matrix=bt709,setparams=color_primaries=bt709:color_trc=bt709 {X264}",
        facts={"matrix": 1, "primaries": 1, "transfer": 1},
    ),
    "BT.601, tagged": Case(
        make=f"{video()} -vf scale=out_color_matrix=bt601,setparams=color_primaries=smpte170m"
        f":color_trc=smpte170m {X264}",
        facts={"matrix": 5, "primaries": 6, "transfer": 6},
    ),
    "HD without tags": Case(make=f"{video('1280x720', '25', 0.2)} {X264}", facts={"matrix": 1}, pixels=False),
    "alpha, VP9": Case(
        make=f"{video()} -vf {HALF},format=yuva420p -c:v libvpx-vp9 -deadline realtime", name="a.webm",
        facts={"alpha": True}, warned="alpha channel is left out",
    ),
    "alpha, ProRes": Case(
        make=f"{video()} -vf {HALF},format=yuva444p10le -c:v prores_ks", name="a.mov",
        facts={"alpha": True},
        warned="alpha channel is left out",
    ),
    "alpha from the 10th frame on": Case(
        make=f"{video()} -vf format=rgba,colorchannelmixer=aa=0.5:enable=gte(n\\\\,10),format=yuva444p10le"
        " -c:v prores_ks",
        name="a.mov", facts={"alpha": True}, warned="alpha channel is left out",
    ),
    "GIF": Case(
        make=f"{video(rate='10')} -vf split[a][b];[a]palettegen[p];[b][p]paletteuse", name="a.gif", facts={"frames": 10}
    ),
    "WebM": Case(
        make=f"{video()} {SOUND.format(1)} -c:v libvpx -deadline realtime -cpu-used 8 -c:a libopus", name="a.webm",
        facts={"copied": "audio"},
    ),
    "AVI": Case(make=f"{video()} {SOUND.format(1)} -c:v mpeg4 -bf 0 -c:a mp3", name="a.avi", facts={"copied": "audio"}),
    "FLV": Case(make=f"{TWO} -ar 44100", name="a.flv", facts={"copied": "audio"}),
    "MPEG-2 in a transport stream": Case(
        make=f"{video()} {SOUND.format(1)} -c:v mpeg2video -q:v 2 -c:a mp2", name="a.ts", facts={"copied": "audio"}
    ),
    "AV1": Case(make=f"{video()} -pix_fmt yuv420p -c:v libsvtav1 -preset 10", facts={"frames": 25}),
    "interlaced": Case(
        make=f"{video('96x64', '50')} -vf {FIELDS} {X264} -flags +ildct+ilme", facts={"interlaced": True, "frames": 25},
        warned="fields are made frames", pixels=False,
    ),
    "interlaced MPEG-2": Case(
        make=f"{video(rate='50')} -vf {FIELDS} -c:v mpeg2video -q:v 2 -flags +ildct+ilme", name="a.mkv",
        facts={"interlaced": True}, warned="fields are made frames", pixels=False,
    ),
    "interlaced from the 10th frame on": Case(
        make=f"{video(seconds=0.4)} -c:v mpeg2video -q:v 2 -flags low_delay {{early}} ;; {video(rate='50')}"
        f" -vf {FIELDS} -c:v mpeg2video -q:v 2 -flags +ildct+ilme+low_delay -output_ts_offset 0.4 {{late}} ;;"
        " -i concat:{early}|{late} -c copy",
        name="a.ts", facts={"interlaced": True}, warned="fields are made frames", pixels=False,
    ),
    "interlaced, refused": Case(
        make=f"{video('96x64', '50')} -vf {FIELDS} {X264} -flags +ildct+ilme", recipe={"input.interlaced": "refuse"},
        refused="is refused by input.interlaced",
    ),
    "a cut": Case(
        make=f"{video(seconds=0.6)} -t 0.4 -f lavfi -i mandelbrot=size=98x66:rate=25"
        f" -filter_complex [0][1]concat {X264}",
        facts={"frames": 25},
    ),
    "a corrupt tail": Case(make=f"{TWO} -movflags faststart", refused="truncated", facts={"cut": 0.8}),
    "sound only": Case(make=f"{SOUND.format(1)} -c:a aac", name="a.m4a", refused="has no video stream"),
}  # fmt: skip


def markdown() -> str:
    """The table for the documentation."""
    lines = ["| source | file | with | the probe finds | becomes |", "|---|---|---|---|---|"]
    for name, case in CASES.items():
        found = "" if case.refused else ", ".join(f"{fact} {value}" for fact, value in case.facts.items())
        becomes = f"an error: “{case.refused}”" if case.refused else "all of it"
        becomes = f"“{case.warned}”" if case.warned else becomes
        recipe = ", ".join(f"`{key} = {value}`" for key, value in case.recipe.items())
        lines.append(f"| {name} | {case.name.rpartition('.')[2]} | {recipe} | {found} | {becomes} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")

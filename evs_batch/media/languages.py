"""Languages of tracks: mp4 and mkv say any code of ISO 639-2, QuickTime has numbers for some of them."""

_TERMS = {  # codes of ISO 639-2's other list, by which FFmpeg knows QuickTime's languages
    "deu": "ger", "nld": "dut", "ell": "gre", "isl": "ice", "zho": "chi", "sqi": "alb", "mkd": "mac", "hye": "arm",
    "kat": "geo", "bod": "tib", "mya": "bur", "msa": "may",
}  # fmt: skip
_QUICKTIME = (
    "alb amh ara arm asm aze bel ben bul bur ces chi dan dut eng epo est fin fra geo ger gre guj heb hin hun ice ind "
    "ita jpn kas kaz khm kor kur lao lav lit mac mal mar may mlg mlt mon nep nor ori orm pol por pus ron run rus san "
    "slk slv snd som spa swa tam tel tgl tha tib tir tur ukr und urd uzb vie yid"
)


def named(language: str, container: str) -> str:
    """A language as a container says it; nothing if it has no code for it."""
    if container != "mov" or not language:
        return language
    name = _TERMS.get(language, language)
    return name if name in _QUICKTIME.split() else ""

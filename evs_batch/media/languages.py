"""Languages of tracks: mp4 and mkv say any code of ISO 639-2, QuickTime has numbers for some of them."""

_TERMS = {  # codes of ISO 639-2's other list, by which FFmpeg knows QuickTime's languages
    "deu": "ger", "nld": "dut", "ell": "gre", "isl": "ice", "zho": "chi", "sqi": "alb", "mkd": "mac", "hye": "arm",
    "kat": "geo", "bod": "tib", "mya": "bur", "msa": "may", "eus": "baq", "cym": "wel", "fas": "per",
}  # fmt: skip
_QUICKTIME = (
    "alb amh ara arm asm aym aze baq bel ben bul bur cat ces chi dan dut dzo eng epo est fin fra geo ger gre grn guj "
    "heb hin hun ice ind ita jav jpn kan kas kaz khm kin kir kor kur lao lat lav lit mac mal mar may mlg mlt mol mon "
    "nep nor nya ori orm per pol por pus que ron run rus san sin slk slv smi snd som spa swa tam tat tel tgk tgl tha "
    "tib tir tuk tur uig ukr und urd uzb vie wel yid"
)


def named(language: str, container: str) -> str:
    """A language as a container says it; nothing if it has no code for it."""
    if container != "mov" or not language:
        return language
    name = _TERMS.get(language, language)
    return name if name in _QUICKTIME.split() else ""

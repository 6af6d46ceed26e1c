"""Codecs: values of C types as Python values and back, composed once from BTF."""

from sonde.bpf.codec.codec import Buffer, Codec
from sonde.bpf.codec.compose import codec_of
from sonde.bpf.codec.enum import EnumMember
from sonde.bpf.codec.record import Record, as_dict
from sonde.bpf.codec.text import CutText

__all__ = ["Buffer", "Codec", "CutText", "EnumMember", "Record", "as_dict", "codec_of"]

"""linmem-tiny: linear-attention models of a million parameters that read a household's memory, trained here.

`language` is what they can say, `lessons` what they are taught, `architectures` what they are made of, `train` and
`measure` make them and say how good they are.
"""

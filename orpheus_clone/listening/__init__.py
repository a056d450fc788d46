"""How a voice sounds, in numbers: each utterance heard by the judges, and what they add up to.

    Spoken ──▶ Listener.hear ──▶ Hearing, one each ──▶ figures.add_up ──▶ Figures
                  │   ▲
                  │   └── Reference: held-out clips of the speaker, as a run carries them
                  └────── judges.Judges: words, voices, sound; each may be missing

Shared by train, which chooses an epoch by it, and eval, which proves a voice with it. What a
missing judge, or a base that never learnt to speak, leaves unmeasured is None with the reason,
never 0.
"""

"""What is measured of a clean recording."""

from orpheus_clone.quality import Quality

CLEAN = Quality(
    snr_db=40.0,
    clipped=0.0,
    bandwidth_hz=11_000.0,
    hum_db=0.0,
    dc=0.0,
    zeros=0.0,
    music=0.0,
    reverberation_s=0.1,
    lufs=-20.0,
    mos=3.3,
)

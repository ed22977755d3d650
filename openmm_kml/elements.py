"""Names of the chemical elements."""

_TABLE = """
H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc
Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi
Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og
"""
SYMBOLS = ("X", *_TABLE.split())  # the place is the atomic number; "X" stands for none


def symbol(number):
    """Return the symbol of an atomic number, or the number itself when there is no such element."""
    number = int(number)
    return SYMBOLS[number] if 0 < number < len(SYMBOLS) else str(number)


def symbols(numbers):
    """Return the symbols of elements with commas between them, for messages."""
    return ", ".join(symbol(z) for z in numbers)


def formula(numbers):
    """Return the chemical formula of some atoms in Hill's order, for example "C2H6O"."""
    names = [symbol(z) for z in numbers]
    first = ["C", "H"] if "C" in names else []
    order = first + sorted(set(names) - set(first))
    return "".join(s + (str(names.count(s)) if names.count(s) > 1 else "") for s in order if s in names)

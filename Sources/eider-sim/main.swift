print("eider-sim")
